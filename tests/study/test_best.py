"""``best`` for the questions people ask: by family, the front of two metrics, and as files."""

import pandas as pd
import pytest
from click.testing import CliRunner

from study.cli.main import main
from study.commands.answers import best
from study.config.load import load
from study.planning.plan import make_plan
from trainers.errors import InputError


def call(finished, *arguments):
    where = ["--store", finished.store, "--storage", str(finished.storage.root)]
    return CliRunner().invoke(main, ["best", "small", *arguments, *where])


def test_the_front_holds_what_no_other_beats(finished):
    metrics = ["dsc.A.tumor", "-retention.tumor"]
    front = best("small", top=None, places=finished, pareto=metrics)
    every = best("small", metric="dsc.A.tumor", top=None, places=finished)
    points = [(e["metrics"]["dsc.A.tumor"]["mean"], -e["metrics"]["retention.tumor"]["mean"]) for e in every]
    best_ones = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)}
    assert {(e["values"]["dsc.A.tumor"], -e["values"]["retention.tumor"]) for e in front} == best_ones
    assert front[0]["values"]["dsc.A.tumor"] == max(p[0] for p in points)


def test_by_family(finished):
    assert len(best("small", goal="dice", top=None, places=finished, family="region")) == 8
    assert best("small", goal="dice", top=None, places=finished, family="boundary") == []
    with pytest.raises(InputError, match="choose one of"):
        best("small", places=finished, family="regional")


def test_a_front_needs_two_metrics(finished):
    assert "two metrics or more" in call(finished, "--pareto", "dsc.A.tumor").stderr


def test_as_csv_and_parquet(finished, tmp_path):
    for name, read in (("best.csv", pd.read_csv), ("best.parquet", pd.read_parquet)):
        done = call(finished, "--goal", "dice", "--top", "3", "--export", str(tmp_path / name))
        assert done.exit_code == 0, done.output
        table = read(tmp_path / name)
        assert len(table) == 3
        assert {"rank", "cell", "phi", "eps", "batch_size", "dsc.A.tumor", "dsc.A.tumor.low"} <= set(table.columns)


def test_a_study_file_that_reruns_the_winner(finished, tmp_path):
    path = tmp_path / "winner.yaml"
    done = call(finished, "--goal", "dice", "--export", str(path))
    assert done.exit_code == 0, done.output
    first = best("small", goal="dice", top=1, places=finished)[0]
    plan = make_plan(load(path), finished.storage)
    assert {spec.cell for spec in plan.trials} == {first["cell"]}
    assert plan.to_run == []  # its trials are those that are done


def test_a_front_as_text(finished):
    done = call(finished, "--pareto", "dsc.A.tumor,dsc.B.tumor")
    assert "no other cell beats these in dsc.A.tumor and dsc.B.tumor" in done.output


def test_another_ending(finished, tmp_path):
    done = call(finished, "--export", str(tmp_path / "best.xlsx"))
    assert done.exit_code == 2
    assert ".csv, .parquet, .yaml" in done.stderr
