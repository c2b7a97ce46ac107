"""What travels to another process as JSON arrives as it was sent: specs, results."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.sources.phantom_heart import CardiacPhantomSpec
from trainers.epsilon import Epsilon
from trainers.losses.taxonomy import PHIS, TAXONOMY
from trainers.result import TrialResult, load_result, save_result
from trainers.spec import LossSpec, ProtocolSpec, Regime, TrialSpec

AMOUNTS = st.floats(1e-9, 1e9).map(lambda amount: float(f"{amount:.4g}"))
EPSILONS = st.builds(Epsilon, AMOUNTS, st.sampled_from(["voxels", "v_hat"]))
DATA = CardiacPhantomSpec()


@st.composite
def losses(draw):
    names = draw(st.lists(st.sampled_from(sorted(TAXONOMY)), min_size=1, max_size=2, unique=True))
    takes = any(TAXONOMY[name].phi_eps for name in names)
    per_class = takes and all(TAXONOMY[name].eps_per_class for name in names) and draw(st.booleans())
    eps = draw(st.fixed_dictionaries(dict.fromkeys(DATA.classes, EPSILONS)) if per_class else EPSILONS)
    terms = [{"name": name, "weight": draw(AMOUNTS)} for name in names]
    phi = draw(st.sampled_from(["I", "BI"] if per_class else list(PHIS)))
    return LossSpec(terms=terms, phi=phi if takes else None, eps=eps if takes else None)


@st.composite
def trials(draw):
    folds = draw(st.integers(1, 5))
    classes = st.sampled_from(DATA.classes)
    return TrialSpec(
        data=DATA,
        data_key="0" * 12,
        empty={
            "group": DATA.groups[0],
            "classes": draw(st.lists(classes, min_size=1, unique=True)),
        },
        labeling=draw(st.builds(Regime, name=st.just("partial"), share=st.floats(0.01, 1).map(lambda s: round(s, 2)))),
        loss=draw(losses()),
        batch_size=draw(st.integers(1, 64)),
        protocol=ProtocolSpec(
            epochs=draw(st.integers(1, 1000)),
            lr=draw(AMOUNTS),
            schedule=draw(st.sampled_from(["constant", "linear", "plateau"])),
            sampling=draw(st.dictionaries(st.sampled_from(DATA.groups), st.integers(1, 9))),
        ),
        folds=folds,
        fold=draw(st.integers(0, folds - 1)),
        seed=draw(st.integers(0, 2**31)),
    )


@given(trials())
@settings(max_examples=150, deadline=None)
def test_a_trial_arrives_as_it_was_sent_with_its_key(spec):
    arrived = TrialSpec.model_validate_json(spec.model_dump_json())
    assert arrived == spec
    assert (arrived.key, arrived.cell) == (spec.key, spec.cell)


def test_epsilon_per_class_travels_as_a_mapping_and_keeps_the_keys_made_of_its_text():
    eps = {"RV": Epsilon(1e-7), "MYO": Epsilon(1.0, "v_hat"), "LV": Epsilon(1e-7)}
    loss = LossSpec(name="dice", phi="I", eps=eps)
    assert loss.model_dump(mode="json")["eps"] == {"RV": "1e-07", "MYO": "v_hat", "LV": "1e-07"}
    spec = TrialSpec(
        data=DATA,
        data_key="0" * 12,
        empty={"group": DATA.groups[0], "classes": [DATA.classes[0]]},
        labeling="partial",
        loss=loss,
        batch_size=1,
        protocol={"epochs": 1},
    )
    assert spec._body()["loss"]["eps"] == str(eps)


@given(
    st.dictionaries(st.text(min_size=1, max_size=9), st.floats(allow_nan=True, allow_infinity=False), max_size=4),
    st.text(max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_a_result_arrives_as_it_was_left(tmp_path_factory, metrics, reason):
    folder = tmp_path_factory.mktemp("trial")
    left = TrialResult("k" * 12, "FAILED", "failed", reason, metrics=metrics)
    save_result(folder, left)
    found = load_result(folder)
    assert found.reason == left.reason
    assert found.metrics.keys() == metrics.keys()
    for name, value in metrics.items():
        assert found.metrics[name] == value or (math.isnan(value) and math.isnan(found.metrics[name]))
