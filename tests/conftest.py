"""A study small enough to be run for real in a test, and one that has been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from study.commands.launch import INLINE, launch
from study.config.load import parse_study
from study.config.spec import StudySpec
from study.storage.folders import Storage
from study.storage.locations import Places
from tests.services import Service, dicestudy_service
from trainers.data.sources.phantom_brain import PhantomSpec
from trainers.spec import EmptySpec, LossSpec, ProtocolSpec, Regime, TrialSpec

STUDY = """
name: small
data: {source: phantom, train: 8, test: 6}
labeling: {empty: {group: B, classes: [tumor]}}
trial: {network: tiny, epochs: 2, lr: 5.0e-3, clip: 0.1}
search:
  strategy: grid
  space:
    loss: dice
    phi: [I, BI]
    eps: [1.0e-7, v_hat]
    batch_size: 2
    labeling: [full, partial]
"""


@pytest.fixture
def study_text() -> str:
    return STUDY


@pytest.fixture
def study() -> StudySpec:
    return parse_study(STUDY)


@pytest.fixture
def trial() -> TrialSpec:
    data = PhantomSpec(source="phantom", train=8, test=6)
    return TrialSpec(
        data=data,
        data_key=data.key(),
        empty=EmptySpec(group="B", classes=("tumor",)),
        labeling=Regime(name="partial"),
        loss=LossSpec(name="dice", phi="I", eps=1e-7),
        batch_size=2,
        protocol=ProtocolSpec(epochs=3, lr=5e-3, clip=0.1),
    )


def places_in(folder: Path) -> Places:
    """A store and a storage as a launch finds or makes them."""
    storage = Storage(folder / "storage")
    storage.make()
    return Places(f"sqlite:///{folder / 'mlflow.db'}", storage)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return places_in(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Where the small study has been run to its end; tests only read it."""
    places = places_in(tmp_path_factory.mktemp("finished"))
    ended = launch(parse_study(STUDY), places, address=INLINE, quiet=True)
    assert ended.done == 8
    return places


READER, WRITER = "reader-0123456789abcdef", "writer-0123456789abcdef"


@pytest.fixture(scope="session")
def served(finished: Places, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service on the finished study; tests only read, and post with ``check=true``."""
    folder = tmp_path_factory.mktemp("served")
    tokens = folder / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"# who may ask\nreading read {READER}\nwriting write {WRITER}\n")
    (folder / "data").mkdir()
    options = ("--tokens", str(tokens), "--data-root", str(folder / "data"), "--rate", "1000/second")
    with dicestudy_service(finished.store, finished.storage.root, folder / "log", *options) as service:
        yield service
