"""Which setups and which cases stand for a study."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis.figures.examples import (
    MOST_CASES,
    ExampleCase,
    Panel,
    Setup,
    choose_setups,
    choose_slices,
    draw_examples,
    examples_sentence,
    shown_cells,
)
from analysis.outcomes import trial_scores
from tests.analysis.conftest import demo_settings, make_study, sometimes


@pytest.fixture(scope="module")
def mixed():
    return make_study(demo_settings(), collapse=sometimes)


def test_each_outcome_has_the_cell_that_shows_it_most(mixed):
    chosen = choose_setups(mixed, "tumor", mixed.trials["key"].tolist())
    assert [setup.outcome for setup in chosen] == ["segments", "ignores", "learns_empty", "collapsed"]
    scores = trial_scores(mixed).set_index("key")
    for setup in chosen:
        own = scores.loc[setup.key]
        assert (own["cell"], own["outcome"]) == (setup.cell, setup.outcome)
    shares = (scores["outcome"] == "learns_empty").groupby(scores["cell"]).mean()
    assert shares[chosen[2].cell] == shares.max() == 1
    assert scores.loc[chosen[3].key, "seed"] == 1  # the one that collapses


def test_only_trials_with_pictures_are_chosen(mixed):
    kept = mixed.trials.loc[mixed.trials["labeling"] == "full", "key"].tolist()
    assert [setup.outcome for setup in choose_setups(mixed, "tumor", kept)] == ["segments"]
    assert choose_setups(mixed, "tumor", []) == []
    assert choose_setups(make_study([], emptied=None), "tumor", ["a"]) == []


def test_cases_are_small_and_large_of_the_emptied_group_and_middle_others():
    slices = [(group, quartile) for group in "AB" for quartile in (0.25, 0.5, 0.75)]
    assert choose_slices(slices, "B") == [3, 5, 1]
    assert choose_slices([("B", 0.25)], "B") == [0]
    many = [(group, quartile) for group in "ABCDEF" for quartile in (0.25, 0.5, 0.75)]
    assert choose_slices(many, "B") == [3, 5, 1, 7]
    assert len(choose_slices(many, None)) == MOST_CASES


def test_the_figure_has_a_panel_a_setup_beside_the_label():
    truth = np.eye(6, dtype=bool)
    panels = (Panel(Setup("one", "k", "ignores"), truth, 0.9), Panel(Setup("two", "l", "learns_empty"), ~truth, None))
    case = ExampleCase("B00", "B", "tumor", True, None, 2.0, truth.astype(np.uint8), truth, panels)
    figure = draw_examples([case, case], {"one": "Φ=I"})
    FigureCanvasAgg(figure).draw()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["B00\ngroup B (emptied)", "Φ=I\nignores; DSC 0.90", "two\nlearns empty; no DSC"]
    assert len(titles) == 6
    assert shown_cells([case]) == ["one", "two"]
    assert examples_sentence([case]).endswith("ignores, learns empty.")
