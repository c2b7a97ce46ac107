"""Studies on files, from a folder to a report: pictures, the decathlon's layout, BraTS trees."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from study.commands.launch import INLINE, launch
from study.config.load import parse_study
from study.config.presets import preset_text
from tests.trainers.data.conftest import write_nifti
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.result import CASES_FILE

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REST = """
trial: {network: tiny, epochs: 2, lr: 5.0e-3}
search:
  space: {loss: dice, phi: [I], eps: [1.0e-7, v_hat], batch_size: 2, labeling: [full, %s]}
"""


def run(text, places):
    """Launch to the end; the study's folder, its table 1 and all per-case rows."""
    study = parse_study(text)
    ended = launch(study, places, address=INLINE, quiet=True)
    assert (ended.done, ended.failed, ended.troubled) == (ended.trials, 0, "")
    folder = places.storage.study(study.name)
    assert (folder / "report.html").read_text().rstrip().endswith("</html>")
    cases = pd.concat([pd.read_csv(path) for path in places.storage.root.glob(f"trials/*/{CASES_FILE}")])
    return folder, json.loads((folder / "table.json").read_text()), cases


def test_pictures_go_to_a_report(places, tmp_path):
    """Bright discs in noise, two looks of them as two groups; PNG images and TIFF labels."""
    rng = np.random.default_rng(0)
    rows = ["case,subject,group,image,label"]
    y, x = np.mgrid[:40, :48]
    for number in range(20):
        group = "AB"[number % 2]
        centre, radius = rng.uniform(14, 26, 2), rng.uniform(5, 9)
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
        picture = 90 + 20 * rng.standard_normal(disc.shape) + (80 if group == "A" else 50) * disc
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
        Image.fromarray(disc.astype(np.uint8)).save(tmp_path / f"{number}.tif")
        rows.append(f"c{number},s{number},{group},{number}.png,{number}.tif")
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    _, table, cases = run(
        f"""
name: pictures
data: {{source: table, root: {tmp_path / "cases.csv"}, patch: [32, 40], classes: {{disc: 1}}, groups: [A, B]}}
labeling: {{empty: {{group: B, classes: [disc]}}}}
"""
        + REST % "partial",
        places,
    )
    assert {(row["labeling"], row["group"]) for row in table} == {
        (one, two) for one in ("full", "partial") for two in "AB"
    }
    # A pixel is 1 mm thick: the volume [ml] is the disc's pixels of the uncut picture by a thousand.
    row = cases.iloc[0]
    label = np.array(Image.open(tmp_path / f"{row['case'][1:]}.tif"))
    assert row["true_ml"] == pytest.approx(label.sum() / 1000)


@pytest.mark.data
def test_half_of_the_posterior_hippocampi_emptied(places):
    root = DATA / "Task04_Hippocampus"
    if not root.is_dir():
        pytest.skip(f"needs the volumes at {root}")
    _, table, cases = run(
        f"""
name: hippocampus
data: {{source: decathlon, root: {root}, classes: {{Anterior: 1, Posterior: 2}}, subjects: 10, patch: [32, 48, 32]}}
labeling: {{empty: {{group: all, classes: [Posterior]}}}}
"""
        + REST.replace("2, lr", "1, lr") % "partial 0.5",
        places,
    )
    emptied = cases[cases["emptied"]]
    assert set(emptied["class"]) == {"Posterior"}
    # Two trials under partial labeling; two cases held out, half of their maps counted as emptied.
    assert len(emptied) == 2 * 1
    assert not cases["gt_empty"].any()
    assert {row["class"] for row in table} == {"Anterior", "Posterior"}


def brats_tree(root: Path, modalities=("flair", "t1", "t1ce", "t2")) -> None:
    """2018's folders at 1 mm from phantoms of 8 mm: each voxel eight times along every axis would be its size."""
    phantom = PhantomSpec(train=10, test=2, shape=(24, 24, 16))
    for number, info in enumerate(phantom.list_cases()[:10]):
        arrays = phantom.load_case(info)
        name = f"Brats18_TST_{number:03d}_1"
        folder = root / {"A": "HGG", "B": "LGG"}[info.group] / name
        folder.mkdir(parents=True)
        large = [np.kron(one, np.ones((2, 2, 2), one.dtype)) for one in (*arrays.image, *arrays.label)]
        for modality, channel in zip(modalities, (large[0], large[1], large[1], large[0]), strict=False):
            write_nifti(folder / f"{name}_{modality}.nii.gz", (100 * channel).astype(np.int16), (1.0, 1.0, 1.0))
        label = large[2].astype(np.uint8)
        label[label > 0] = np.where(np.arange((label > 0).sum()) % 3 == 0, 4, 2)
        write_nifti(folder / f"{name}_seg.nii.gz", label, (1.0, 1.0, 1.0))


def made_small(text: str, root: Path, **fields: str) -> str:
    """The preset with another root and what makes it small."""
    study = parse_study(text).model_dump(mode="json")
    study["data"] |= {"root": str(root), "patch": [24, 24, 16], **fields}
    study["trial"] |= {"network": "tiny", "epochs": 1, "precision": "fp32"}
    study["search"] = {"space": {"loss": "dice", "phi": "I", "eps": "v_hat", "batch_size": 2, "labeling": "partial"}}
    study |= {"resources": {"cpus": 1}, "folds": 2}
    return json.dumps(study)


def test_a_brats_tree_goes_through_its_preset(places, tmp_path):
    brats_tree(tmp_path / "BraTS2018")
    _, table, cases = run(made_small(preset_text("brats"), tmp_path / "BraTS2018"), places)
    assert {row["group"] for row in table} == {"HGG", "LGG"}
    # Scored at 1 mm, though trained at 2 mm: volumes are whole microlitres.
    microlitres = cases["true_ml"].to_numpy() * 1000
    assert np.allclose(microlitres, np.rint(microlitres))
    assert set(cases[cases["emptied"]]["group"]) == {"LGG"}


@pytest.mark.data
def test_the_real_brats_subjects_go_as_far_as_two_channels_allow(places, tmp_path):
    root = DATA / "brats"
    if not root.is_dir():
        pytest.skip(f"needs the volumes at {root}")
    subjects = sorted(path.name for path in root.iterdir() if path.is_dir())
    grades = tmp_path / "grades.csv"
    rows = [f"{'HGG' if number % 2 else 'LGG'},{name}" for number, name in enumerate(subjects)]
    grades.write_text("\n".join(["Grade,BraTS_subject_ID", *rows]))
    text = made_small(preset_text("brats"), root, grades=str(grades), modalities=["flair", "t1ce"])
    _, table, cases = run(text, places)
    assert len(cases) == 6
    assert cases["true_ml"].min() > 1
    assert len(table) == 2
