import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.config.load import parse_study
from study.config.search_space import enumerate_trials
from trainers.errors import InputError


def trials(text):
    return enumerate_trials(parse_study(text), lambda data: data.model_dump_json())


def test_the_grid_is_the_product(study_text):
    found = trials(study_text)
    assert len(found) == 2 * 2 * 2
    assert len({trial.key for trial in found}) == 8
    assert {(t.loss.phi, str(t.loss.eps), str(t.labeling)) for t in found} == {
        (phi, eps, labeling) for phi in ("I", "BI") for eps in ("1e-07", "v_hat") for labeling in ("full", "partial")
    }


def test_folds_and_seeds_multiply_and_every_cell_comes_once_first(study_text):
    found = trials(study_text + "folds: 2\nseeds: 3\n")
    assert len(found) == 8 * 2 * 3
    assert len({trial.cell for trial in found[:8]}) == 8
    assert len({trial.cell for trial in found}) == 8


def test_the_order_is_fixed(study_text):
    assert [trial.key for trial in trials(study_text)] == [trial.key for trial in trials(study_text)]


def test_a_grown_study_contains_the_smaller_one(study_text):
    grown = trials(study_text.replace("phi: [I, BI]", "phi: [I, BI, CI]") + "seeds: 2\n")
    assert {trial.key for trial in trials(study_text)} < {trial.key for trial in grown}


JOINED = """
name: joined
data: {source: phantom, train: 8, test: 6}
labeling: {empty: {group: B, classes: [tumor]}}
trial: {epochs: 2}
search:
  space:
    - {loss: dice, phi: I, eps: v_hat, batch_size: 2, labeling: partial}
    - {loss: dice, phi: I, eps: {from: 1.0e-2 v_hat, to: 1.0e+2 v_hat, points: 5}, batch_size: 2, labeling: partial}
"""


def test_joined_spaces_drop_repeats():
    assert [str(trial.loss.eps) for trial in trials(JOINED)] == [
        "v_hat", "0.01 v_hat", "0.1 v_hat", "10 v_hat", "100 v_hat",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{from: 1, to: 10 v_hat, points: 3}", "both in voxels or both in v_hat"),
        ("{from: 1, to: 10, points: 1}", "at least 2"),
        ("{from: 1, to: 10}", "from, to and points"),
        ("{from: 0, to: 10, points: 3}", "above 0"),
    ],
)
def test_a_range_that_cannot_be_read(written, words):
    with pytest.raises(InputError, match=words):
        parse_study(JOINED.replace("{from: 1.0e-2 v_hat, to: 1.0e+2 v_hat, points: 5}", written))


def test_any_field_of_the_protocol_and_of_the_data_is_an_axis(study_text):
    text = study_text.replace(
        "batch_size: 2", "batch_size: 2\n    lr: {from: 1.0e-4, to: 1.0e-2, points: 3}\n    data.seed: [0, 1]"
    )
    found = trials(text)
    assert len(found) == 8 * 3 * 2
    assert {trial.protocol.lr for trial in found} == {1e-4, 1e-3, 1e-2}
    assert {trial.data.seed for trial in found} == {0, 1}
    assert len({trial.data_key for trial in found}) == 2


def test_phi_and_eps_fall_away_for_a_loss_that_has_none(study_text):
    found = trials(study_text.replace("loss: dice", "loss: [dice, ce]"))
    plain = [trial for trial in found if trial.loss.name == "ce"]
    assert len(found) == 8 + 2
    assert {(trial.loss.phi, trial.loss.eps) for trial in plain} == {(None, None)}
    alone = study_text.replace("loss: dice", "loss: ce").replace("phi: [I, BI]", "").replace("eps: [1.0e-7, v_hat]", "")
    assert len(trials(alone)) == 2


def test_parameters_of_a_loss_are_written_or_searched(study_text):
    text = study_text.replace("loss: dice", "loss: {name: tversky, alpha: 0.4}\n    loss.beta: [0.5, 0.6]")
    found = trials(text)
    assert len(found) == 16
    assert {(t.loss.terms[0].parameters["alpha"], t.loss.terms[0].parameters["beta"]) for t in found} == {
        (0.4, 0.5),
        (0.4, 0.6),
    }
    # A default is written out: what the key covers is what was used.
    assert found[0].loss.terms[0].parameters["background"] is False


def test_a_searched_parameter_falls_away_for_a_loss_without_it(study_text):
    found = trials(study_text.replace("loss: dice", "loss: [dice, tversky]\n    loss.alpha: [0.3, 0.5]"))
    assert [t.loss.name for t in found].count("dice") == 8
    assert [t.loss.name for t in found].count("tversky") == 16


def test_a_weighted_sum(study_text):
    found = trials(study_text.replace("loss: dice", "loss: {terms: [dice, {name: ce, weight: 0.5}]}"))
    assert len(found) == 8
    assert {trial.loss.name for trial in found} == {"dice + 0.5 ce"}
    assert found[0].loss.phi == "I"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{name: tversky, alfa: 0.3}", "unknown parameter 'alfa' of loss tversky, known: alpha, beta"),
        ("{name: tversky, alpha: -1}", "alpha of loss tversky is -1.0, expected a number"),
        ("{terms: []}", "expected a list"),
        ("{terms: [dice], weight: 2}", "unknown field 'weight' beside terms"),
        ("{terms: [{name: dice, weight: 0}]}", "weight"),
        ("dice\n    loss.alpha: 0.3", "unknown parameter 'loss.alpha'"),
    ],
)
def test_a_loss_that_cannot_be_read(study_text, written, words):
    with pytest.raises(InputError) as caught:
        parse_study(study_text.replace("loss: dice", f"loss: {written}"))
    assert words in str(caught.value)


def test_what_is_studied_must_be_written_out(study_text):
    with pytest.raises(InputError, match=r"search\.space\.eps: is missing"):
        parse_study(study_text.replace("eps: [1.0e-7, v_hat]", ""))


@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12), st.integers(2, 12))
def test_ranges_begin_and_end_where_they_say(start, stop, points):
    text = JOINED.replace(
        "from: 1.0e-2 v_hat, to: 1.0e+2 v_hat, points: 5", f"from: {start!r}, to: {stop!r}, points: {points}"
    )
    amounts = [trial.loss.eps.amount for trial in trials(text)][1:]
    # Three digits, so a tight range may fall together.
    assert 1 <= len(amounts) <= points
    assert amounts[0] == pytest.approx(start, rel=6e-3)
    assert amounts[-1] == pytest.approx(stop, rel=6e-3) or len(amounts) < points
