"""Maps of files by a trial's network: those that the trial was scored by, in the file's own space."""

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel import orientations
from PIL import Image

from tests.trainers.data.conftest import brats, frame_path, write_nifti, write_pixels  # noqa: F401 brats is a fixture
from trainers.checkpoint import CHECKPOINT_FILE, CheckpointError, Progress, save_checkpoint
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.acdc import AcdcSpec
from trainers.data.sources.brats import BratsSpec
from trainers.data.sources.csv_table import TableSpec
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.errors import InputError
from trainers.networks import NetworkSpec, build_network
from trainers.result import CASES_FILE
from trainers.segmenter import load_segmenter
from trainers.spec import EmptySpec, LossSpec, ProtocolSpec, Regime, TrialSpec
from trainers.trial import run_trial


def trial_on(data, **protocol):
    return TrialSpec(
        data=data,
        data_key="0" * 12,
        empty=EmptySpec(group=data.groups[-1], classes=data.classes[:1]),
        labeling=Regime(name="full"),
        loss=LossSpec(name="dice", phi="I", eps=1.0),
        batch_size=2,
        protocol=ProtocolSpec(epochs=4, lr=5e-3, augment="none", **protocol),
        folds=3,
    )


def hearts(tree, **fields):
    return AcdcSpec(root=tree, **{"spacing": (4, 4, 8), "patch": (32, 32, 12), **fields})


def pictures(tmp_path):
    """Bright discs in noise, two looks of them as two groups, larger than the patch."""
    rng = np.random.default_rng(0)
    rows = ["case,subject,group,image,label"]
    y, x = np.mgrid[:40, :48]
    for number in range(12):
        centre, radius = rng.uniform(16, 24, 2), rng.uniform(5, 9)
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
        picture = 90 + 20 * rng.standard_normal(disc.shape) + 80 * disc
        write_pixels(tmp_path / f"images/{number}.png", picture.clip(0, 255).astype(np.uint8))
        write_pixels(tmp_path / f"labels/{number}.png", 7 * disc.astype(np.uint8))
        rows.append(f"c{number},s{number},{'AB'[number % 2]},images/{number}.png,labels/{number}.png")
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    return TableSpec(root=tmp_path / "cases.csv", patch=(32, 40), classes={"disc": 7}, groups=("A", "B"))


def untrained(spec, folder, channels):
    """A checkpoint of the trial's network as it is before its first step."""
    torch.manual_seed(0)
    maps = len(spec.data.classes) + (spec.data.head == "softmax")
    network = build_network(spec.protocol.network, channels, maps, spec.data.patch)
    save_checkpoint(folder, spec.key, Progress(), network, torch.optim.Adam(network.parameters()))
    return load_segmenter(spec, folder)


def mapped(segmenter, *paths):
    return segmenter.segment(segmenter.open(paths))


@pytest.mark.parametrize("kind", ["cut", "whole", "mixing", "picture"])
def test_maps_are_those_that_the_trial_was_scored_by(tree, tmp_path, kind):
    small = NetworkSpec(name="BasicUNet", arguments={"norm": "batch", "features": [4, 4, 8, 8, 8, 4]})
    protocol = {"network": small} if kind == "mixing" else {}
    if kind == "picture":
        data = pictures(tmp_path)
    else:
        patch = (16, 16, 8) if kind == "whole" else (32, 32, 16)
        data = hearts(tree, crop="none" if kind == "whole" else "center", patch=patch)
    spec = trial_on(data, **protocol)
    files = {files.case: files.images for files in data.list_cases()}
    run_trial(spec, open_prepared(prepare(data, tmp_path / "storage")), tmp_path / "trial")
    # The data is gone when its network is used.
    for case, paths in files.items():
        files[case] = [shutil.copy(path, tmp_path / f"{case}{''.join(path.suffixes)}") for path in paths]
    gone = spec.model_copy(update={"data": data.model_copy(update={"root": "gone"})})
    segmenter = load_segmenter(gone, tmp_path / "trial")
    found = 0.0
    with (tmp_path / "trial" / CASES_FILE).open() as table:
        for row in csv.DictReader(table):
            paths = files[row["case"]]
            images = segmenter.open(paths)
            (name,) = segmenter.files(paths[0])
            ml = segmenter.write(images[0], segmenter.segment(images), tmp_path / "maps" / name)
            assert ml[row["class"]] == float(row["pred_ml"])
            found += float(row["pred_ml"])
    assert found > 0


def test_a_map_lies_in_its_images_own_axes(tree, tmp_path):
    segmenter = untrained(trial_on(hearts(tree)), tmp_path, channels=1)
    straight = frame_path(tree, 1, "ED")
    image = nib.load(straight)
    turn = orientations.axcodes2ornt("PSL")
    image = image.as_reoriented(orientations.ornt_transform(orientations.io_orientation(image.affine), turn))
    nib.save(image, tmp_path / "turned.nii.gz")
    written = []
    for number, path in enumerate((straight, tmp_path / "turned.nii.gz")):
        images = segmenter.open([path])
        segmenter.write(images[0], segmenter.segment(images), tmp_path / f"{number}.nii.gz")
        written.append(nib.load(tmp_path / f"{number}.nii.gz"))
    assert written[1].shape == image.shape
    assert np.array_equal(written[1].affine, image.affine)
    back = nib.as_closest_canonical(written[1])
    assert np.array_equal(np.asarray(back.dataobj), np.asarray(written[0].dataobj))
    # The values of the label files: RV, MYO, LV and the background.
    assert set(np.unique(np.asarray(back.dataobj))) <= {0, 1, 2, 3}
    assert len(np.unique(np.asarray(back.dataobj))) > 1


def test_a_map_has_its_images_spacing_where_the_affine_says_another(tree, tmp_path):
    segmenter = untrained(trial_on(hearts(tree)), tmp_path, channels=1)
    image = nib.load(frame_path(tree, 1, "ED"))
    image.header.set_zooms((5, 6, 8))
    nib.save(image, tmp_path / "odd.nii.gz")
    images = segmenter.open([tmp_path / "odd.nii.gz"])
    ml = segmenter.write(images[0], segmenter.segment(images), tmp_path / "map.nii.gz")
    written = nib.load(tmp_path / "map.nii.gz")
    assert written.header.get_zooms() == (5, 6, 8)
    assert np.array_equal(written.affine, image.affine)
    assert sum(ml.values()) == pytest.approx(np.count_nonzero(np.asarray(written.dataobj)) * 0.24)


def test_without_a_label_to_cut_about_the_image_is_kept_whole(tree, tmp_path):
    path = frame_path(tree, 1, "ES")
    found = {}
    for crop in ("label", "none", "center"):
        data = hearts(tree, crop=crop, patch=(16, 16, 8))
        found[crop] = np.stack(list(mapped(untrained(trial_on(data), tmp_path / crop, channels=1), path).values()))
    assert np.array_equal(found["label"], found["none"])
    # The patch is 64 mm wide, the image 160 mm.
    assert found["label"][:, :8].any()
    assert not found["center"][:, :8].any()


def test_classes_that_may_overlap_have_a_file_each(brats, tmp_path):  # noqa: F811
    data = BratsSpec(root=brats, classes={"whole": [2, 1, 4], "core": [4]}, patch=(16, 16, 16), crop="label")
    segmenter = untrained(trial_on(data), tmp_path, channels=4)
    subject = brats / "LGG" / "Brats18_LGG1_1"
    paths = [subject / f"{subject.name}_{name}.nii.gz" for name in data.modalities]
    files = segmenter.files(paths[0])
    assert files == {f"{subject.name}_flair_{name}.nii.gz": (name,) for name in ("whole", "core")}
    maps = mapped(segmenter, *paths)
    for (name, (class_,)), value in zip(files.items(), (1, 4), strict=True):
        ml = segmenter.write(segmenter.open(paths)[0], {class_: maps[class_]}, tmp_path / name)
        voxels = np.asarray(nib.load(tmp_path / name).dataobj)
        assert np.array_equal(voxels, value * maps[class_])
        assert ml == {class_: pytest.approx(maps[class_].sum() * 8 / 1000)}
    alone = segmenter.data.model_copy(update={"class_values": (("tumor", (1, 4)),)})
    assert untrained(trial_on(alone), tmp_path / "alone", channels=4).files(paths[0]).keys() == {
        f"{subject.name}_flair.nii.gz"
    }


def test_a_picture_gives_a_picture(tmp_path):
    segmenter = untrained(trial_on(pictures(tmp_path)), tmp_path, channels=1)
    path = tmp_path / "images/3.png"
    assert segmenter.files(path) == {"3.png": ("disc",)}
    images = segmenter.open([path])
    segmenter.write(images[0], {"disc": np.eye(40, 48, dtype=bool)}, tmp_path / "map.png")
    assert np.array_equal(np.array(Image.open(tmp_path / "map.png")), 7 * np.eye(40, 48))


def test_every_fault_of_a_case_is_told_at_once(brats, tmp_path):  # noqa: F811
    segmenter = untrained(trial_on(BratsSpec(root=brats, patch=(16, 16, 16))), tmp_path, channels=4)
    subject = brats / "HGG" / "Brats18_HGG1_1"
    flair, t1, t1ce, t2 = (subject / f"{subject.name}_{name}.nii.gz" for name in ("flair", "t1", "t1ce", "t2"))
    write_nifti(tmp_path / "small.nii.gz", np.zeros((8, 8, 8), np.float32))
    write_pixels(tmp_path / "flat.png", np.zeros((16, 16), np.uint8))
    t2.write_bytes(t2.read_bytes()[:-40])
    (tmp_path / "empty.nii.gz").touch()
    for paths, expected in {
        (flair, t1): ["channels: 2, expected 4 as in training; join the files of one case by commas"],
        (flair, tmp_path / "small.nii.gz", t1, t1ce): ["channel of shape 8×8×8, expected its image's 16×16×16"],
        (flair, t1, t1ce, t2): ["_t2.nii.gz: unreadable NIfTI file"],
        (tmp_path / "x.nii.gz", tmp_path / "y.jpg", tmp_path / "empty.nii.gz"): [
            "x.nii.gz: no such file",
            "y.jpg: no image by its name; convert it to .nii.gz, .nii, .png",
            "empty.nii.gz: unreadable NIfTI file",
        ],
        (tmp_path / "flat.png",): ["flat.png: 2-D, and data.patch has 3; give images in 3-D"],
    }.items():
        with pytest.raises(InputError) as raised:
            segmenter.open(paths)
        assert len(raised.value.faults) == len(expected)
        for fault, text in zip(raised.value.faults, expected, strict=True):
            assert text in str(fault)


def test_only_the_trials_own_checkpoint_is_used(tree, tmp_path):
    spec = trial_on(hearts(tree))
    with pytest.raises(CheckpointError, match="missing; remove the trial's folder and launch the study again"):
        load_segmenter(spec, tmp_path)
    untrained(spec, tmp_path, channels=1)
    other = spec.model_copy(update={"seed": 1})
    with pytest.raises(CheckpointError, match=f"belongs to trial {spec.key}, expected {other.key}"):
        load_segmenter(other, tmp_path)
    network = build_network(NetworkSpec(name="tiny"), 1, 7, (32, 32, 12))
    save_checkpoint(tmp_path, spec.key, Progress(), network, torch.optim.Adam(network.parameters()))
    with pytest.raises(CheckpointError, match="its weights are not those of network tiny"):
        load_segmenter(spec, tmp_path)
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_segmenter(spec, tmp_path)


def test_generated_images_are_like_no_file(tmp_path):
    with pytest.raises(
        InputError, match=r"learnt from generated images \(phantom\), which no file is like; predict with"
    ):
        load_segmenter(trial_on(PhantomSpec()), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has the device")
def test_a_device_that_is_not_there_is_wrong_input(tree, tmp_path):
    with pytest.raises(InputError, match="--device cuda: no such device on this machine; give --device cpu"):
        load_segmenter(trial_on(hearts(tree)), tmp_path, "cuda")
