"""A few rows of the table of faults, on several hosts: nothing lost, nothing double, every ending told."""

import pytest

from bench.faults import measure
from bench.injuries import TRIALS
from tests.cluster import require_hosts

NAMES = ["worker-killed", "driver-killed", "journal-torn"]


@pytest.fixture(scope="module")
def rows():
    require_hosts()
    return dict(zip(NAMES, measure(NAMES, print), strict=True))


@pytest.mark.hosts
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_after_a_fault_each_trial_has_one_run_and_the_undisturbed_bits(rows, name):
    row = rows[name]
    assert (row.finished, row.runs, row.doubles, row.running, row.lost_epochs) == (TRIALS, TRIALS, 0, 0, 0)
    assert row.same == f"{TRIALS} of {TRIALS}"
    assert row.endings == f"{TRIALS} done"
    assert row.launches == (1 if name == "worker-killed" else 2)
