import numpy as np
import pandas as pd
import pytest

from analysis.figures.contours import draw_contours
from analysis.figures.curves import draw_learning
from analysis.figures.style import new_figure
from analysis.results.learning_curves import learning_curves
from analysis.tables import MissingColumnsError
from tests.analysis.conftest import Setting, make_study

TABLES = make_study([Setting(), Setting("BI")], seeds=2)
EPOCHS = pd.DataFrame(
    [
        {"key": key, "epoch": epoch, "metric": f"val.dsc.{group}.tumor", "value": 0.1 * epoch + 0.2 * seed}
        for key, seed in zip(TABLES.trials["key"], TABLES.trials["seed"], strict=True)
        for epoch in range(3)
        for group in "AB"
    ]
)


def test_curves_are_means_over_the_trials_of_a_cell():
    cell = TABLES.trials["cell"].iloc[0]
    curves = learning_curves(TABLES, EPOCHS, [cell], "tumor")
    assert [(curve.group, curve.emptied, curve.n) for curve in curves] == [("A", False, 2), ("B", True, 2)]
    assert curves[0].dsc == pytest.approx([0.1, 0.2, 0.3])
    made, axes = new_figure()
    draw_learning(axes, curves, {cell: "Φ=I"})
    assert axes.get_legend_handles_labels()[1] == ["Φ=I, A", "Φ=I, B (emptied)"]
    assert made.legends


def test_epochs_need_their_columns_and_may_lack_a_cell():
    with pytest.raises(MissingColumnsError, match="epochs lacks metric"):
        learning_curves(TABLES, EPOCHS.drop(columns="metric"), [], "tumor")
    assert learning_curves(TABLES, EPOCHS, ["unknown"], "tumor") == []


def test_contours_of_empty_maps_are_named_empty():
    truth = np.zeros((6, 6))
    truth[2:4, 2:4] = 1
    _, axes = new_figure()
    draw_contours(axes, np.arange(36.0).reshape(6, 6), truth, {"I": truth, "BI": np.zeros((6, 6))})
    assert axes.get_legend_handles_labels()[1] == ["full label", "I", "BI (empty)"]
