"""A few rows of the table of faults, on several hosts: nothing lost, nothing double, every ending told."""

import json
import os
import subprocess
import sys

import pytest

from bench.injuries import TRIALS
from tests.cluster import require_hosts

NAMES = ["worker-killed", "driver-killed", "journal-torn"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    if "DICESTUDY_TEST_FAULTS" not in os.environ:
        pytest.skip("takes many minutes: set DICESTUDY_TEST_FAULTS=1")
    require_hosts()
    found = tmp_path_factory.mktemp("faults") / "rows.json"
    # A process of its own: Ray reads a cluster's token once.
    subprocess.run([sys.executable, "-m", "bench.faults", *NAMES, "--json", str(found)], check=True)
    return dict(zip(NAMES, json.loads(found.read_text()), strict=True))


@pytest.mark.hosts
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_after_a_fault_each_trial_has_one_run_and_the_undisturbed_bits(rows, name):
    row = rows[name]
    counts = [row[name] for name in ("finished", "runs", "doubles", "running", "lost_epochs")]
    assert counts == [TRIALS, TRIALS, 0, 0, 0]
    assert row["same"] == f"{TRIALS} of {TRIALS}"
    assert row["endings"] == f"{TRIALS} done"
    assert row["launches"] == (1 if name == "worker-killed" else 2)
