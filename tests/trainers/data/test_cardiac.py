import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from trainers.data.sources.phantom_heart import CardiacPhantomSpec


def volumes(spec: CardiacPhantomSpec, phase: str) -> np.ndarray:
    """Mean volume of each class [ml]."""
    cases = [info for info in spec.list_cases() if info.group == phase]
    return np.mean([np.sum(a.label, axis=(1, 2, 3)) * a.voxel_ml for a in map(spec.load_case, cases)], axis=0)


def test_every_subject_has_both_phases_and_stays_in_one_split() -> None:
    cases = CardiacPhantomSpec().list_cases()
    assert [info.split for info in cases] == ["train"] * 72 + ["test"] * 48
    assert len({info.subject for info in cases}) == 60
    assert [info.group for info in cases] == ["ED", "ES"] * 60


def test_classes_exclude_each_other_and_are_all_there() -> None:
    spec = CardiacPhantomSpec(train=10, test=2)
    for info in spec.list_cases():
        arrays = spec.load_case(info)
        assert arrays.image.shape == (1, 32, 32, 8)
        assert arrays.label.shape == (3, 32, 32, 8)
        assert arrays.label.sum(axis=0).max() == 1
        assert arrays.label.any(axis=(1, 2, 3)).all()
        # Clear of the border in the plane, so that no ring is cut open.
        assert not arrays.label[:, [0, -1]].any()
        assert not arrays.label[:, :, [0, -1]].any()


def test_myocardium_encloses_the_cavity_in_every_slice() -> None:
    spec = CardiacPhantomSpec(train=10, test=2)
    for info in spec.list_cases():
        _, myocardium, cavity = spec.load_case(info).label.astype(bool)
        for level in range(8):
            filled = ndimage.binary_fill_holes(myocardium[..., level])
            assert not (cavity[..., level] & ~filled).any()


def test_blood_is_bright_and_muscle_dark() -> None:
    spec = CardiacPhantomSpec()
    arrays = spec.load_case(spec.list_cases()[0])
    right, myocardium, cavity = (arrays.image[0][part == 1].mean() for part in arrays.label)
    background = arrays.image[0][~arrays.label.any(axis=0)].mean()
    assert min(right, cavity) > background + 1
    assert myocardium < background


def test_the_heart_contracts() -> None:
    diastole, systole = (volumes(CardiacPhantomSpec(train=20, test=2), phase) for phase in ("ED", "ES"))
    assert systole[2] / diastole[2] == pytest.approx(0.4, abs=0.1)  # ejection fraction near 60 %
    assert systole[0] < diastole[0]
    assert systole[1] == pytest.approx(diastole[1], rel=0.15)  # muscle keeps its volume


def test_the_phases_share_the_anatomy_and_not_the_noise() -> None:
    spec = CardiacPhantomSpec()
    diastole, systole = (spec.load_case(info) for info in spec.list_cases()[:2])
    stranger = spec.load_case(spec.list_cases()[3])
    outside = ~(diastole.label.any(axis=0) | systole.label.any(axis=0) | stranger.label.any(axis=0))
    ours, theirs = (
        np.corrcoef(diastole.image[0][outside], other.image[0][outside])[0, 1] for other in (systole, stranger)
    )
    assert 0.7 < ours < 0.999
    assert abs(theirs) < 0.3


def test_a_finer_grid_shows_the_same_volumes() -> None:
    coarse, fine = (
        volumes(CardiacPhantomSpec(shape=shape, train=12, test=2), "ED") for shape in ((32, 32, 8), (64, 64, 16))
    )
    assert fine == pytest.approx(coarse, rel=0.05)


def test_equal_specs_give_equal_bits_and_a_larger_one_contains_the_smaller() -> None:
    small, large = CardiacPhantomSpec(train=2, test=2), CardiacPhantomSpec(train=5, test=3)
    large_cases = {info.case: info for info in large.list_cases()}
    for info in small.list_cases():
        assert small.load_case(info).image.tobytes() == large.load_case(large_cases[info.case]).image.tobytes()


def test_the_recipe_makes_the_voxels_that_its_number_stands_for() -> None:
    # If this fails, other voxels come from the same spec: raise RECIPE, so that prepared data is not reused.
    spec = CardiacPhantomSpec()
    assert spec.fingerprint() == "phantom-cardiac-2"
    arrays = spec.load_case(spec.list_cases()[1])
    assert arrays.label.sum(axis=(1, 2, 3)).tolist() == [147, 652, 252]
    assert np.abs(arrays.image).sum() == pytest.approx(6700.3, rel=1e-3)


@pytest.mark.parametrize("shape", [(16, 32, 8), (32, 32, 2)])
def test_a_grid_too_coarse_for_the_wall_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValidationError, match="too coarse"):
        CardiacPhantomSpec(shape=shape)
