"""Draws the pictures of ``docs/gallery.md`` that need no training: ``python -m docs.gallery``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy import ndimage

from analysis.loss_weights import draw_loss_weights, mismatch_weights
from study.cli import preset_text
from study.foresight import explain
from study.places import Places
from study.reader import parse_study
from study.storage import Storage
from trainers.data.distances import signed_distance
from trainers.data.phantom import VOXEL_MM, PhantomSpec

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


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    loss_weights()
    push()
