"""Generated data with maps that are rightly empty."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.data.sources.phantom_heart import CardiacPhantomSpec
from trainers.data.sources.phantom_pictures import PhantomPicturesSpec
from trainers.spec import EmptySpec, LossSpec, ProtocolSpec, Regime, TrialSpec
from trainers.trial import run_trial


def trial_of(data, **protocol):
    return TrialSpec(
        data=data,
        data_key=data.key(),
        empty=EmptySpec(group="B", classes=("tumor",)),
        labeling=Regime(name="full"),
        loss=LossSpec(name="dice", phi="BI", eps=1e-7),
        batch_size=2,
        protocol=ProtocolSpec(epochs=1, **protocol),
    )


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 0.1])
def test_a_share_of_the_brains_is_healthy_and_rightly_empty(share):
    spec = PhantomSpec(healthy=share, train=40, test=20)
    cases = spec.list_cases()
    assert sum(info.group == "healthy" for info in cases) == pytest.approx(60 * share)
    others = [info.group for info in cases[:40] if info.group != "healthy"]
    assert others[:4] == ["A", "B", "A", "B"]
    for info in cases[:12]:
        arrays = spec.load_case(info)
        assert arrays.label.any() == (info.group != "healthy")
        assert np.isfinite(arrays.image).all()


def test_cases_may_have_several_tumours_or_none():
    spec = PhantomSpec(tumors=(0, 3), radius=(2, 2.5), shape=(32, 32, 32), train=30, test=2)
    counts = [ndimage.label(spec.load_case(info).label[0])[1] for info in spec.list_cases()[:30]]
    assert {0, 1, 2, 3} == set(counts)  # tumours may touch, and count as one then


def test_default_fields_leave_keys_as_they_were():
    assert PhantomSpec().key() == "516d473b4a93"
    assert CardiacPhantomSpec().key() == "2849fb1f637c"
    assert PhantomSpec(healthy=0.5).key() != PhantomSpec().key()
    assert trial_of(PhantomSpec()).key == trial_of(PhantomSpec(), tolerance_ml=0).key
    assert trial_of(PhantomSpec()).key != trial_of(PhantomSpec(), tolerance_ml=1).key


def test_pictures_are_slices_of_their_brains():
    spec = PhantomPicturesSpec(train=4, test=2, slices=4)
    volumes = PhantomSpec(train=4, test=2)
    cases = spec.list_cases()
    assert len(cases) == 6 * 4
    whole = {info.case: volumes.load_case(info) for info in volumes.list_cases()}
    for info in cases:
        arrays, brain = spec.load_case(info), whole[info.subject]
        plane = 2 + 4 * int(info.case[-1])
        assert np.array_equal(arrays.image, brain.image[..., plane])
        assert np.array_equal(arrays.label, brain.label[..., plane])
    empty = [not spec.load_case(info).label.any() for info in cases]
    assert 0 < sum(empty) < len(empty)


def test_a_heart_may_lack_a_class_in_one_phase():
    whole, lacking = (CardiacPhantomSpec(train=2, test=2, lacks=lacks) for lacks in ({}, {"ES": ("RV",)}))
    for info in whole.list_cases():
        full, less = whole.load_case(info), lacking.load_case(info)
        assert full.label[0].any()
        assert less.label[0].any() == (info.group == "ED")
        assert np.array_equal(full.label[1:], less.label[1:])
        assert np.array_equal(full.image, less.image) == (info.group == "ED")


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (PhantomSpec, {"tumors": (0, 0)}, "no range with an end of 1 to 8"),
        (PhantomSpec, {"healthy": 1.0}, "less than 1"),
        (PhantomPicturesSpec, {"slices": 17}, "slices is 17, expected at most the 16 voxels"),
        (CardiacPhantomSpec, {"lacks": {"EX": ("RV",)}}, "unknown group 'EX', known: ED, ES"),
        (CardiacPhantomSpec, {"lacks": {"ED": ("rv",)}}, "unknown class 'rv', known: RV, MYO, LV"),
        (CardiacPhantomSpec, {"lacks": {"ED": ("RV",), "ES": ("RV",)}}, "lacked by every group"),
    ],
)
def test_wrong_fields_are_told(kind, fields, message):
    with pytest.raises(ValidationError, match=message):
        kind(**fields)


def test_a_trial_on_pictures_is_scored_on_empty_maps_too(tmp_path):
    spec = trial_of(PhantomPicturesSpec(train=8, test=8, healthy=0.5), tolerance_ml=0.5)
    result = run_trial(spec, open_prepared(prepare(spec.data, tmp_path / "data")), tmp_path / "trial")
    assert result.state == "DONE", result.reason
    assert "dsc.healthy.tumor" not in result.metrics
    assert 0 <= result.metrics["specificity.healthy.tumor"] <= 1
    assert result.metrics["fp_ml.healthy.tumor"] >= 0
    assert 0 <= result.metrics["detection_auc.tumor"] <= 1
