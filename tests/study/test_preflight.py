"""What machines must have in common, asked of a Ray node and of answers that differ."""

from dataclasses import replace
from functools import partial

import pytest

from study.engine import InlineEngine, Node, engine_at
from study.preflight import FOLDER, ask, require_nodes, versions
from study.storage import Storage
from trainers.data.phantom import PhantomSpec
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


def test_a_real_node_of_ray_answers_and_nothing_is_left(tmp_path):
    storage = Storage(tmp_path)
    data = PhantomSpec()
    with engine_at(None) as engine:
        require_nodes(engine, storage, {data.key(): data}, gpus=False)
        with pytest.raises(InputError, match=r"node .*: its files differ|node .*, .*: its files differ"):
            require_nodes(engine, storage, {"another": data}, gpus=False)
        (answer,) = [answer for _, answer in engine.ask_nodes(partial(ask, tmp_path / "nowhere", "t", {}, True))]
        assert "is not the folder of that name" in answer.storage
        assert answer.versions == versions()
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
