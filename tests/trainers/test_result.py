import json

import pytest

from trainers.result import RESULT_FILE, TrialResult, load_result, read_ending, save_result


@pytest.mark.parametrize(
    ("state", "reason", "written", "ending"),
    [
        ("DONE", "", "done", "done"),
        ("DONE", "collapsed: nothing is found in any held-out case", "collapsed", "all_empty"),
        ("DONE", "collapsed: nothing is found in any held-out case", None, "all_empty"),
        ("FAILED", "stopped early: 0.12 at epoch 3 is behind the others", "failed", "pruned"),
        ("FAILED", "diverged: the loss was nan at epoch 1, step 2", None, "diverged"),
        ("FAILED", "out of memory", "out_of_memory", "out_of_memory"),
        ("FAILED", "ValueError: x", None, "failed"),
    ],
)
def test_the_ending_of_a_record_of_any_version(state, reason, written, ending):
    assert read_ending(state, reason, written) == ending


def test_a_result_with_an_ending_of_an_earlier_version_is_read(tmp_path):
    save_result(tmp_path, TrialResult("k", "DONE"))
    path = tmp_path / RESULT_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ending": "collapsed"}))
    assert load_result(tmp_path).ending == "all_empty"
