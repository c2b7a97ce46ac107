"""Draws the pictures of ``docs/gallery.md``.

``python -m docs.gallery`` draws those that need no training; ``python -m docs.gallery STORAGE`` those of the studies
in ``docs/studies`` that were launched on a storage and are over.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from analysis.figures.examples import draw_examples, shown_cells
from analysis.figures.heatmap import draw_plane
from analysis.figures.loss_weights import draw_loss_weights
from analysis.figures.style import PANELS, new_figure
from analysis.figures.transition import draw_transition
from analysis.report.html import cell_names
from analysis.report.sentences import plane_sentence, slice_label
from analysis.results.all_results import find
from analysis.theory.loss_weights import mismatch_weights
from study.commands.explain import explain
from study.commands.report_examples import examples_of
from study.config.load import parse_study
from study.config.presets import preset_text
from study.storage.folders import Storage
from study.storage.locations import Places
from study.storage.study_record import study_folders
from study.storage.tables import build_tables, stored_members
from trainers.data.geometry.distances import signed_distance
from trainers.data.sources.phantom_brain import VOXEL_MM, PhantomSpec

PICTURES = Path(__file__).parent / "pictures"


def loss_weights() -> None:
    """One generated tumour against itself shifted and smoothed, as a half-trained network might see it."""
    case = PhantomSpec(shape=(64, 64, 48), radius=(11.0, 13.0), train=2, test=2, seed=4)
    label = case.load_case(case.list_cases()[0]).label[0]
    found = ndimage.gaussian_filter(ndimage.shift(label.astype(float), (5, -3, 0), order=1), 3) > 0.4
    middle = int(np.argmax(label.sum(axis=(0, 1))))
    truth, guess = label[:, :, middle], found[:, :, middle]
    spacing = (VOXEL_MM, VOXEL_MM)
    distances = [signed_distance(one[np.newaxis], spacing)[0] for one in (truth, guess)]
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    draw_loss_weights(figure, mismatch_weights(truth, guess, *distances), unit="mm")
    figure.savefig(PICTURES / "loss-weights.png", dpi=130)


def push() -> None:
    """What ``explain`` says of the preset ``phantom``."""
    with tempfile.TemporaryDirectory() as folder:
        places = Places("sqlite:///unused", Storage(Path(folder)))
        explain(parse_study(preset_text("phantom")), places, PICTURES / "push.png")


def measured(name: str, storage: Storage) -> None:
    """A study's slices in which ε varies, its planes, and chosen cases: ``NAME-map-N``, ``NAME-plane-N``.

    A study that is not over has none.
    """
    over, waiting = stored_members(name, storage)
    if waiting or not over:
        return
    found = find(build_tables(over, storage), np.random.default_rng(0))
    lines = [each for each in found.mapped["slices"] if len(each["points"]) > 1]
    for number, each in enumerate(lines):
        figure, axes = new_figure()
        draw_transition(axes, each)
        axes.set_title(slice_label(found.mapped, each), fontsize=10)
        _save(figure, f"{name}-map-{number}")
    for number, plane in enumerate(found.mapped["planes"]):
        figure = Figure(figsize=(13, 2.2 + 0.45 * len(plane["rows"])), layout="constrained")
        for axes, (panel, _, _) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
            draw_plane(axes, plane, panel)
        figure.suptitle(plane_sentence(found.mapped, plane), fontsize=10)
        _save(figure, f"{name}-plane-{number}")
    cases = examples_of(found, Places("", storage))
    if cases:
        _save(draw_examples(cases, cell_names(found, shown_cells(cases))), f"{name}-cases")


def _save(figure: Figure, name: str) -> None:
    figure.savefig(PICTURES / f"{name}.png", dpi=110)


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    if sys.argv[1:]:
        storage = Storage(Path(sys.argv[1]))
        for study in sys.argv[2:] or study_folders(Places("", storage)):
            measured(study, storage)
    else:
        loss_weights()
        push()
