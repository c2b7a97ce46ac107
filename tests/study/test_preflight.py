"""What machines must have in common, asked of a Ray node and of answers that differ."""

import subprocess
import sys
from dataclasses import replace

import pytest

from study.execution.engine import Node
from study.execution.inline import InlineEngine
from study.execution.node_checks import FOLDER, require_nodes
from study.storage.folders import Storage
from trainers.errors import InputError

NODE = Node("n1", "10.0.0.7", gpus=2)


class OneNode(InlineEngine):
    """An engine whose one node answers as it is told to."""

    def __init__(self, change):
        self.change = change

    def ask_nodes(self, question):
        yield NODE, self.change(question)


def faults_with(change, storage, data=None, gpus=False):
    with pytest.raises(InputError) as caught:
        require_nodes(OneNode(change), storage, data or {}, gpus)
    return [str(fault) for fault in caught.value.faults]


REAL = """
import sys
from functools import partial
from pathlib import Path

from study.execution.factory import engine_at
from study.execution.node_checks import ask, library_versions, require_nodes
from study.storage.folders import Storage
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.errors import InputError

folder, data = Path(sys.argv[1]), PhantomSpec()
with engine_at(None) as engine:
    require_nodes(engine, Storage(folder), {data.key(): data}, gpus=False)
    try:
        require_nodes(engine, Storage(folder), {"another": data}, gpus=False)
    except InputError as error:
        print(error)
    ((node, answer),) = engine.ask_nodes(partial(ask, folder / "nowhere", "t", {}, True))
    print(answer.storage)
    print(answer.versions == library_versions())
"""


@pytest.mark.engine
def test_a_real_node_of_ray_answers_and_nothing_is_left(tmp_path):
    # A process of its own: Ray reads a cluster's token once.
    command = [sys.executable, "-c", REAL, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    differs, unshared, alike = ended.stdout.splitlines()
    assert differs.startswith("node ")
    assert "its files differ from those on the launching machine" in differs
    assert "is not the folder of that name" in unshared
    assert alike == "True"
    assert list(tmp_path.iterdir()) == []


def test_what_a_machine_lacks_is_told_with_its_address_all_at_once(tmp_path):
    def other(question):
        answer = question(NODE.id)
        return replace(answer, versions={**answer.versions, "Python": "3.9", "torch": "1.0"}, gpus=1)

    faults = faults_with(other, Storage(tmp_path), gpus=True)
    assert len(faults) == 3
    assert all(fault.startswith("node 10.0.0.7: ") for fault in faults)
    assert "Python is 3.9 there" in faults[0]
    assert "torch is 1.0 there" in faults[1]
    assert "Ray counts 2 GPUs there, torch sees 1" in faults[2]


def test_a_storage_that_is_not_shared_is_told(tmp_path):
    def written_elsewhere(question):
        answer = question(NODE.id)
        for path in (tmp_path / FOLDER).glob(f"*.{NODE.id}"):
            path.unlink()
        return answer

    (fault,) = faults_with(written_elsewhere, Storage(tmp_path))
    assert "cannot be read here; mount one shared folder" in fault


def test_a_node_that_does_not_answer_is_told(tmp_path):
    (fault,) = faults_with(lambda _: "ModuleNotFoundError: No module named 'study'", Storage(tmp_path))
    assert fault.startswith("node 10.0.0.7: ModuleNotFoundError")
    assert "installed as here" in fault
