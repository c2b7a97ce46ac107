import pytest

from analysis.report.sentences import foretold_sentence
from analysis.results.prediction_check import foretell
from analysis.results.transition_map import transition_map
from tests.analysis.conftest import LINE, Setting, eps_voxels, make_study


def entry(eps, outcome, crossing=10.0, **other):
    own = {"loss": "dice", "phi": "I", "batch_size": 2, "labeling": "partial", "class": "tumor"}
    return own | {"eps": eps, "eps_voxels": eps_voxels(eps, 200.0), "outcome": outcome, "crossing": crossing} | other


@pytest.fixture
def mapped(rng):
    return transition_map(make_study([Setting("I", eps) for eps in LINE]), rng)


def test_crossings_stand_side_by_side(mapped):
    found = foretell([entry(eps, "ignores") for eps in LINE], mapped)
    (row,) = found["slices"]
    assert row["predicted"] == 10.0
    assert row["measured"] == mapped["slices"][0]["crossing"]["eps"]
    assert row["inside"] is True
    assert 10 ** row["decades"] == pytest.approx(10.0 / row["measured"])
    far = foretell([entry("v_hat", "ignores", crossing=1e6)], mapped)["slices"][0]
    assert far["inside"] is False
    none = foretell([entry("v_hat", "ignores", crossing=None)], mapped)["slices"][0]
    assert (none["inside"], none["decades"]) == (None, None)


def test_outcomes_are_counted_where_they_can_be_told(mapped):
    entries = [entry("0.001 v_hat", "ignores"), entry("v_hat", "between"), entry("10 v_hat", "collapse_risk")]
    found = foretell(entries, mapped)
    assert [(cell["predicted"], cell["agrees"]) for cell in found["cells"]] == [
        ("ignores", True),
        ("between", False),
        ("collapse_risk", False),
    ]
    assert (found["agreeing"], found["told"]) == (1, 3)
    assert "foretold in 1 of 3 cells" in foretold_sentence(found)


def test_entries_of_other_settings_are_not_compared(mapped):
    assert foretell([entry("v_hat", "ignores", phi="BI")], mapped)["slices"] == []
    assert foretell([entry("v_hat", "ignores", labeling="full")], mapped)["cells"] == []


def test_entries_that_name_their_cell_fit_by_it_alone(mapped):
    points = mapped["slices"][0]["points"]
    named = [entry(point["eps_written"], "ignores", cell=point["cell"]) for point in points]
    other = [
        entry(point["eps_written"], "learns_empty", crossing=1e3, cell=f"other-{n}") for n, point in enumerate(points)
    ]
    found = foretell([*other, *named], mapped)
    assert found["slices"][0]["predicted"] == 10.0
    assert [cell["predicted"] for cell in found["cells"]] == ["ignores"] * len(points)
