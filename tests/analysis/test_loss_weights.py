"""The picture of three losses on one mismatch: its numbers, then that it can be drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures.loss_weights import draw_loss_weights
from analysis.theory.loss_weights import mismatch_weights

LABEL = np.array([[1, 1, 0, 0, 0]])
SEGMENTATION = np.array([[0, 1, 1, 1, 0]])
LABEL_DISTANCE = np.array([[-2.0, -1.0, 1.0, 2.0, 3.0]])
SEGMENTATION_DISTANCE = np.array([[1.0, -1.0, -2.0, -1.0, 1.0]])


def test_weights_by_hand():
    weights = mismatch_weights(LABEL, SEGMENTATION, LABEL_DISTANCE, SEGMENTATION_DISTANCE)
    nan = np.nan
    np.testing.assert_array_equal(weights.dice, [[1 / 5, nan, 1 / 5, 1 / 5, nan]])
    np.testing.assert_array_equal(weights.boundary, [[2, nan, 1, 2, nan]])
    np.testing.assert_array_equal(weights.hausdorff, [[4 + 1, nan, 1 + 4, 4 + 1, nan]])


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must have one shape"):
        mismatch_weights(LABEL, SEGMENTATION[:, :3], LABEL_DISTANCE, SEGMENTATION_DISTANCE)


@pytest.mark.parametrize("segmentation", [SEGMENTATION, LABEL, np.zeros_like(LABEL)])
def test_drawing(segmentation):
    weights = mismatch_weights(LABEL.repeat(4, 0), segmentation.repeat(4, 0), *2 * [LABEL_DISTANCE.repeat(4, 0)])
    figure = Figure(layout="constrained")
    draw_loss_weights(figure, weights, unit="mm")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["Dice: 1/(|G|+|S|)", "boundary: distance from G", "Hausdorff: both distances, squared"]
    assert [axes.get_xlabel() for axes in figure.axes[3:]] == ["weight [1/voxel]", "weight [mm]", "weight [mm²]"]
    figure.canvas.draw()
