"""What only a GPU can show. Needs torch and the trainers alone, so that it runs where nothing else is installed."""

import json

import pytest
import torch

from tests.trainers.losses.cases import build, gradient, random_maps
from trainers.checkpoint import load_weights
from trainers.data.prepared.read import open_prepared
from trainers.data.prepared.write import prepare
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.losses import TAXONOMY
from trainers.spec import EmptySpec, LossSpec, ProtocolSpec, Regime, TrialSpec
from trainers.trial import run_trial

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


class KilledError(Exception):
    pass


def spec_of(data, **changed):
    fields = {"epochs": 3, "lr": 5e-3, "clip": 0.1} | changed
    return TrialSpec(
        data=data,
        data_key=data.key(),
        empty=EmptySpec(group="B", classes=("tumor",)),
        labeling=Regime(name="partial"),
        loss=LossSpec(name="dice", phi="I", eps=1e-7),
        batch_size=2,
        protocol=ProtocolSpec(**fields),
    )


@pytest.fixture(scope="module")
def data():
    return PhantomSpec(source="phantom", train=8, test=6)


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    return open_prepared(prepare(data, tmp_path_factory.mktemp("prepared")))


def weights(spec, prepared, folder, report=lambda _: None):
    result = run_trial(spec, prepared, folder, report, "cuda")
    assert result.state == "DONE"
    return load_weights(folder, spec.key)


def same_bits(first, other):
    return all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("name", TAXONOMY)
def test_a_loss_has_the_gradient_that_it_has_on_the_cpu(name):
    loss = build(name)
    prediction, target = random_maps(loss, "sigmoid", (2, 3, 16, 16, 8), dtype=torch.float32)
    found = gradient(loss, prediction.cuda(), target.cuda()).cpu()
    torch.testing.assert_close(found, gradient(loss, prediction, target), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trial_gives_the_same_bits_twice_and_after_kills(precision, data, prepared, tmp_path):
    spec = spec_of(data, precision=precision)
    first = weights(spec, prepared, tmp_path / "first")
    assert same_bits(first, weights(spec, prepared, tmp_path / "again"))
    seen = set()

    def kill(record):
        if record["epoch"] not in seen:
            seen.add(record["epoch"])
            raise KilledError

    for _ in range(spec.protocol.epochs):
        with pytest.raises(KilledError):
            run_trial(spec, prepared, tmp_path / "killed", kill, "cuda")
    assert same_bits(first, weights(spec, prepared, tmp_path / "killed"))


def test_a_trial_gives_its_memory_back(data, prepared, tmp_path):
    for seed in range(3):
        run_trial(spec_of(data).model_copy(update={"seed": seed}), prepared, tmp_path / str(seed), device="cuda")
    assert torch.cuda.memory_allocated() == 0
    assert torch.cuda.memory_reserved() < 64 * 2**20


def test_too_little_memory_is_an_ending_that_names_the_batch_size(data, prepared, tmp_path):
    torch.cuda.set_per_process_memory_fraction(1e-5)
    try:
        result = run_trial(spec_of(data), prepared, tmp_path, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (result.state, result.ending) == ("FAILED", "out_of_memory")
    assert "batch size 2" in result.reason
    assert json.loads((tmp_path / "result.json").read_text())["device"].startswith("cuda")
