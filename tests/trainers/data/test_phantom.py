import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from trainers.data.sources.phantom_brain import PhantomSpec


def load(spec: PhantomSpec, number: int):
    return spec.load_case(spec.list_cases()[number])


def looks_ringed(image: np.ndarray, tumour: np.ndarray) -> bool:
    depth = ndimage.distance_transform_edt(tumour)
    rim = image[1][tumour & (depth <= 1)].mean()
    return bool(rim - image[1][depth >= 0.8 * depth.max()].mean() > 2)


def test_cases_alternate_between_the_groups_and_the_source_keeps_a_test_set() -> None:
    cases = PhantomSpec().list_cases()
    assert [info.split for info in cases] == ["train"] * 72 + ["test"] * 64
    assert sum(info.group == "A" for info in cases[:72]) == 36
    assert sum(info.group == "A" for info in cases[72:]) == 32
    assert len({info.case for info in cases}) == len(cases)


def test_arrays_have_the_declared_shapes_and_types() -> None:
    arrays = load(PhantomSpec(shape=(20, 24, 16)), 0)
    assert arrays.image.shape == (2, 20, 24, 16)
    assert arrays.image.dtype == np.float32
    assert arrays.label.shape == (1, 20, 24, 16)
    assert arrays.label.dtype == np.uint8
    assert set(np.unique(arrays.label)) == {0, 1}
    assert arrays.voxel_ml == pytest.approx(0.7**3)


def test_equal_specs_give_equal_bits_and_another_seed_another_case() -> None:
    first, again, other = (load(PhantomSpec(seed=seed), 5) for seed in (3, 3, 4))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.label.tobytes() == again.label.tobytes()
    assert first.image.tobytes() != other.image.tobytes()


def test_a_larger_spec_contains_the_smaller_one() -> None:
    small, large = PhantomSpec(train=4, test=2), PhantomSpec(train=11, test=7)
    large_cases = {info.case: info for info in large.list_cases()}
    for info in small.list_cases():
        assert large_cases[info.case] == info
        assert small.load_case(info).image.tobytes() == large.load_case(info).image.tobytes()


def test_training_and_test_cases_differ() -> None:
    spec = PhantomSpec(train=2, test=2)
    assert load(spec, 0).image.tobytes() != load(spec, 2).image.tobytes()


def test_the_image_is_normalised_inside_the_brain_and_zero_outside() -> None:
    image = load(PhantomSpec(), 1).image
    brain = image[0] != 0
    assert np.array_equal(brain, image[1] != 0)
    assert 0.25 < brain.mean() < 0.65  # (4/3) π 0.46³ = 0.41 of the box
    for channel in image:
        assert channel[brain].mean() == pytest.approx(0, abs=1e-4)
        assert channel[brain].std() == pytest.approx(1, abs=1e-3)


def test_a_tumour_is_one_bright_piece_and_only_group_a_has_the_ring() -> None:
    spec = PhantomSpec(train=120, test=2)
    ringed = {"A": 0, "B": 0}
    for info in spec.list_cases()[:120]:
        arrays = spec.load_case(info)
        tumour = arrays.label[0] == 1
        assert ndimage.label(tumour)[1] == 1
        brain = arrays.image[0] != 0
        assert arrays.image[0][tumour].mean() > arrays.image[0][brain & ~tumour].mean() + 1
        ringed[info.group] += looks_ringed(arrays.image, tumour)
    # One in ten looks like the other group.
    assert ringed == {"A": 54, "B": 6}


def test_mean_volumes_are_those_that_the_default_epsilons_are_meant_for() -> None:
    spec = PhantomSpec()
    train = [info for info in spec.list_cases() if info.split == "train"]
    volumes = np.array([spec.load_case(info).label.sum() for info in train])
    labelled = np.array([info.group == "A" for info in train])
    assert volumes.mean() == pytest.approx(392, rel=0.08)
    assert np.where(labelled, volumes, 0).mean() == pytest.approx(196, rel=0.08)


def test_the_recipe_makes_the_voxels_that_its_number_stands_for() -> None:
    # If this fails, other voxels come from the same spec: raise RECIPE, so that prepared data is not reused.
    spec = PhantomSpec()
    assert spec.fingerprint() == "phantom-2"
    assert [int(load(spec, number).label.sum()) for number in (0, 1, 72)] == [190, 313, 739]
    assert np.abs(load(spec, 0).image).sum() == pytest.approx(4912.7, rel=1e-3)


def test_the_radius_sets_the_volume() -> None:
    spec = PhantomSpec(shape=(32, 32, 32), radius=(6, 6), train=8, test=2)
    volumes = [load(spec, number).label.sum() for number in range(8)]
    assert np.mean(volumes) == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.25)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shape": (24, 24, 8)}, "too small for a tumour of radius 5.4: every side needs at least 13"),
        ({"radius": (5, 4)}, "no range"),
        ({"radius": (0.5, 4)}, "at least 1 voxel"),
        ({"train": 1}, "greater than or equal to 2"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"sede": 1}, "Extra inputs"),
    ],
)
def test_wrong_fields_are_told(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PhantomSpec(**fields)


def test_the_smallest_shape_that_is_allowed_works() -> None:
    spec = PhantomSpec(shape=(8, 8, 8), radius=(2, 3), train=4, test=2)
    for info in spec.list_cases():
        arrays = spec.load_case(info)
        assert np.isfinite(arrays.image).all()
        assert arrays.label.any()


def test_key_depends_on_every_field() -> None:
    specs = [PhantomSpec(), PhantomSpec(seed=1), PhantomSpec(train=74), PhantomSpec(radius=(3.4, 5.0))]
    assert len({spec.key() for spec in specs}) == 4
    assert PhantomSpec().key() == PhantomSpec(seed=0).key()
