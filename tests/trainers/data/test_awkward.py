"""Awkward datasets: every planted awkwardness is named or handled, and nothing planted, nothing said."""

from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.trainers.data.awkward import AWKWARD, HEALTHY, build
from tests.trainers.data.conftest import label, write_nifti, write_pixels
from trainers.data.formats.image2d import open_picture
from trainers.data.formats.nifti import open_nifti
from trainers.data.inspection import inspect
from trainers.data.sources.csv_table import TableSpec
from trainers.errors import InputError

NAMES = {kind.__name__: kind for kind in AWKWARD}
DRAWS = np.random.default_rng(0)
MIXTURES = [DRAWS.choice(list(NAMES), size=DRAWS.integers(3, 6), replace=False).tolist() for _ in range(50)]


def said(folder: Path, names: list[str]) -> None:
    spec, words = build(folder, [NAMES[name] for name in names])
    report = inspect(spec)
    told = [*map(str, report.faults), *report.notices]
    for word in words:
        assert any(word in line for line in told), (word, told)
    # As many lines as there are awkwardnesses to tell: nothing more is said.
    assert len(told) == len(words), told


def test_nothing_planted_nothing_said(tmp_path: Path) -> None:
    said(tmp_path, [])


@pytest.mark.parametrize("name", NAMES)
def test_each_alone(name: str, tmp_path: Path) -> None:
    said(tmp_path, [name])


@pytest.mark.parametrize("names", list(combinations(NAMES, 2)), ids=" ".join)
def test_all_pairs(names: tuple[str, str], tmp_path: Path) -> None:
    said(tmp_path, list(names))


@pytest.mark.parametrize("names", MIXTURES, ids=" ".join)
def test_mixtures(names: list[str], tmp_path: Path) -> None:
    said(tmp_path, names)


def test_a_tolerance_lets_a_small_mismatch_pass_and_changes_no_key(tmp_path: Path) -> None:
    spec, _ = build(tmp_path, [NAMES["shifted_label"]])
    wider = spec.model_copy(update={"tolerance": 0.05})
    assert inspect(wider).faults == []
    assert wider.key() == spec.key()


def test_units_are_converted(tmp_path: Path) -> None:
    spec, _ = build(tmp_path, [NAMES["metres"]])
    assert spec.load_case(spec.list_cases()[HEALTHY]).spacing == pytest.approx((2, 2, 2))


def test_a_lost_lesion_is_told_with_its_class_and_case(tmp_path: Path) -> None:
    spec, _ = build(tmp_path, [])
    voxels = np.zeros((12, 12, 12), np.uint8)
    voxels[0, 0, 0] = 1
    write_nifti(tmp_path / "casea_label.nii.gz", voxels, spacing=(2, 2, 2))
    (notice,) = inspect(spec.model_copy(update={"patch": (8, 8, 8)})).notices
    assert notice.startswith("class lesion: 1 of 2 maps have voxels in their files and none at this spacing")
    assert "casea (0.008 ml)" in notice


def test_copies_and_like_subjects_are_told(tmp_path: Path) -> None:
    spec, _ = build(tmp_path, [])
    text = (tmp_path / "cases.csv").read_text()
    text = text.replace("caseb_", "casea_").replace("owner of caseb", "Owner of  casea")
    text = text.replace("casea_image.nii.gz,casea_label", "casea_image.nii.gz,casea_label", 1)
    (tmp_path / "casec_image.nii.gz").write_bytes((tmp_path / "casea_image.nii.gz").read_bytes())
    head, first, second = text.split("\n")
    second = second.replace("casea_image", "casec_image")
    (tmp_path / "cases.csv").write_text("\n".join((head, first, second)))
    notices = inspect(TableSpec.model_validate(spec.model_dump(by_alias=True))).notices
    assert [notice.split(" ")[0] for notice in notices] == ["the", "the", "subjects"]


@pytest.mark.parametrize("codes", [(1, 0), (0, 2), (1, 4), (0, 0)])
def test_maps_keep_the_images_codes_and_matrices(codes: tuple[int, int], tmp_path: Path) -> None:
    affine = np.array([[0, -2.0, 0, 5], [3, 0, 0, 7], [0, 0, 4, -9], [0, 0, 0, 1]])
    image = nib.Nifti1Image(np.zeros((6, 5, 4), np.int16), affine)
    image.set_qform(affine, codes[0])
    image.set_sform(affine, codes[1])
    nib.save(image, tmp_path / "image.nii.gz")
    volume = open_nifti(tmp_path / "image.nii.gz")
    volume.save_label(np.zeros(volume.shape, np.uint8), tmp_path / "map.nii.gz")
    one, other = (nib.load(tmp_path / name).header for name in ("image.nii.gz", "map.nii.gz"))
    for name in ("qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d"):
        assert np.array_equal(one[name], other[name]), name
    assert np.array_equal(one["pixdim"][:4], other["pixdim"][:4])


def test_masks_in_colours_of_equal_channels_are_grey(tmp_path: Path) -> None:
    flat = 255 * label(1)[..., 3]
    write_pixels(tmp_path / "mask.png", np.stack([flat] * 3, axis=-1))
    assert np.array_equal(open_picture(tmp_path / "mask.png", label=True).read(), flat)
    write_pixels(tmp_path / "mixed.png", np.stack([flat, flat, 0 * flat], axis=-1))
    with pytest.raises(InputError, match="a label in colours, such as 255, 255, 0 at row 4, column 4"):
        open_picture(tmp_path / "mixed.png", label=True).read()
