"""Names of groups go unchanged from the file to the report, whatever MLflow allows in names of metrics."""

import csv
import json

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from study.commands.answers import best, table, transition_map
from study.commands.launch import INLINE, launch
from study.config.load import parse_study
from trainers.metric_names import encode_name

GROUPS = ("high grade", "肿瘤", "EU, NA", "1", "NA")
STUDY = """
name: names
data: {{source: table, root: {root}, patch: [32, 40], classes: {{"1": 1}}, groups: {groups}}}
labeling: {{empty: {{group: "肿瘤", classes: ["1"]}}}}
trial: {{network: tiny, epochs: 2, lr: 5.0e-3}}
search:
  space: {{loss: dice, phi: [I], eps: [1.0e-7, v_hat], batch_size: 2, labeling: [full, partial]}}
"""


# Where no installed font has a character, the pictures show a box in its place.
@pytest.mark.filterwarnings("ignore:Glyph .* missing from font:UserWarning")
def test_groups_of_any_name_keep_their_columns_curves_and_rank(places, tmp_path):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :48]
    with (tmp_path / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case", "group", "image", "label"])
        for number in range(50):
            disc = (y - rng.uniform(14, 26)) ** 2 + (x - rng.uniform(14, 26)) ** 2 <= rng.uniform(5, 9) ** 2
            picture = 90 + 20 * rng.standard_normal(disc.shape) + 80 * disc
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{number}.png")
            Image.fromarray(disc.astype(np.uint8)).save(tmp_path / f"{number}.tif")
            rows.writerow([f"c{number}", GROUPS[number % 5], f"{number}.png", f"{number}.tif"])
    text = STUDY.format(root=tmp_path / "cases.csv", groups=json.dumps(GROUPS, ensure_ascii=False))
    ended = launch(parse_study(text), places, address=INLINE, quiet=True)
    assert (ended.done, ended.failed, ended.troubled) == (4, 0, "")

    names = {f"dsc.{encode_name(group)}.1" for group in GROUPS}
    client = MlflowClient(places.store)
    (experiment,) = (found for found in client.search_experiments() if found.name == "names")
    runs = client.search_runs([experiment.experiment_id])
    for kind, prefix in (("trial", "val."), ("trial", "final."), ("cell", "final.")):
        recorded = [run.data.metrics.keys() for run in runs if run.data.tags.get("dicestudy.kind") == kind]
        assert len(recorded) == 4
        assert all({prefix + name for name in names} <= metrics for metrics in recorded)

    rows = table("names", places)
    assert {row["group"] for row in rows} == set(GROUPS)
    assert {row["class"] for row in rows} == {"1"}
    assert all(row["dsc"] is not None and row["auc"] is not None for row in rows)
    assert all(row["emptied"] == (row["group"] == "肿瘤" and row["labeling"] == "partial") for row in rows)
    for group in GROUPS:
        metric = f"dsc.{encode_name(group)}.1"
        ranked = best("names", metric=metric, top=None, places=places)
        scores = [entry["metrics"][metric]["mean"] for entry in ranked]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)
    front = best("names", top=None, places=places, pareto=[f"dsc.{encode_name('EU, NA')}.1", "-retention.1"])
    assert front
    (found,) = transition_map("names", places)["slices"]
    assert [point["n"] for point in found["points"]] == [1, 1]
    report = (places.storage.study("names") / "report.html").read_text(encoding="utf-8")
    assert all(group in report for group in ("high grade", "肿瘤", "EU, NA"))


def test_a_group_name_over_two_lines_is_refused():
    with pytest.raises(Exception, match="expected text in one line"):
        parse_study(STUDY.format(root="x.csv", groups=json.dumps(["肿瘤", "a\nb"])))
