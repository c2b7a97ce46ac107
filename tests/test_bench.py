"""What ``make bench`` runs gets to its end, made short; its figures are for people to read."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.long]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["overhead", "--trials", "12"], ["dicestudy / stock, beyond training: "]),
        (["losses", "--pairs", "1"], ["2×4×192×192×48  BCI"]),
        (["preparation", "--patients", "5"], ["10 volumes of phantoms", "ratio "]),
        (
            ["gpu", "--device", "cpu", "--quick", "--minutes", "4", "-o", "{folder}"],
            ["determinism: done", "memory: done"],
        ),
        (["training", "--quick", "--device", "cpu"], ["fp32/MONAI", "convolutions alone", "MiB after 10 trials"]),
    ],
    ids=lambda given: given[0],
)
def test_a_benchmark_gets_to_its_end(arguments, words, tmp_path):
    arguments = [argument.format(folder=tmp_path) for argument in arguments]
    ended = subprocess.run(
        [sys.executable, "-m", f"bench.{arguments[0]}", *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert [word for word in words if word not in ended.stdout] == []
