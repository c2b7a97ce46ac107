"""Launches that outlive who starts them: a process here, a job on a Ray cluster."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from study.config.load import parse_study
from study.execution.detached import launch_detached
from study.planning.plan import make_plan
from study.storage.folders import Storage
from study.storage.locations import Places
from tests.services import free_port
from trainers.errors import InputError

CLI = [sys.executable, "-m", "study.cli"]


def dicestudy(*arguments, environment=None, code=0):
    ended = subprocess.run(
        [*CLI, *arguments], capture_output=True, text=True, env=environment or os.environ, timeout=300, check=False
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout + ended.stderr


def until(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    return found


def statuses(store):
    client = MlflowClient(store)
    return {
        run.data.tags["dicestudy.key"]: run.info.status
        for run in client.search_runs([client.get_experiment_by_name("small").experiment_id], max_results=1000)
        if run.data.tags["dicestudy.kind"] == "trial"
    }


@pytest.mark.engine
def test_a_process_goes_on_alone_is_followed_and_stopped_and_synced(study_text, tmp_path):
    (tmp_path / "small.yaml").write_text(study_text.replace("epochs: 2", "epochs: 60"))
    store, storage = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "storage"
    places = ["--store", store, "--storage", str(storage)]
    said = dicestudy("launch", str(tmp_path / "small.yaml"), "--detach", *places)
    assert "process " in said
    assert "dicestudy logs small --follow" in said
    until(lambda: list(storage.glob("trials/*/checkpoint.pt")))
    assert "is running already" in dicestudy("launch", str(tmp_path / "small.yaml"), "--detach", *places, code=1)
    assert "small: running" in dicestudy("status", "small", *places)
    dicestudy("stop", "small", *places)
    words = dicestudy("logs", "small", "--follow", *places)
    assert "8 trials in 8 cells, 8 to run" in words
    assert "small: stopped" in dicestudy("status", "small", *places)
    # All that was recorded goes to a store that knows nothing, without training anything.
    other = f"sqlite:///{tmp_path / 'other.db'}"
    found = json.loads(dicestudy("sync", "small", "--json", "--store", other, "--storage", str(storage)))
    assert found == {"study": "small", "trials": found["trials"], "runs": found["trials"], "troubled": ""}
    assert statuses(other) == statuses(store)
    assert set(statuses(other).values()) <= {"FINISHED", "KILLED"}


@contextmanager
def cluster(tmp_path):
    """A Ray head of one processor on this machine, with token; the environment that reaches it, and its job server."""
    import psutil

    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("a" * 64)
    ports = {name: free_port() for name in ("port", "dashboard-port", "dashboard-agent-listen-port")}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DICESTUDY_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    # A short name: the paths of Ray's sockets may have 107 characters.
    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus", "1"),
            *("--dashboard-host", "127.0.0.1", "--temp-dir", place, "--disable-usage-stats"),
            *("--object-store-memory", str(256 * 2**20)),
            *(part for name, port in ports.items() for part in (f"--{name}", str(port))),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield environment, f"http://127.0.0.1:{ports['dashboard-port']}"
    finally:
        for child in [*psutil.Process(process.pid).children(recursive=True), process]:
            child.kill()
        process.wait()
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.engine
def test_a_job_is_submitted_followed_stopped_and_continued(study_text, tmp_path):
    text = study_text.replace("epochs: 2", "epochs: 20").replace("eps: [1.0e-7, v_hat]", "eps: 1.0e-7")
    (tmp_path / "small.yaml").write_text(text)
    storage = tmp_path / "storage"
    with cluster(tmp_path) as (environment, address):
        common = ["--address", address]
        laptop = {**environment, "DICESTUDY_ADDRESS": address}
        until(lambda: "no job of this study" in dicestudy_may_fail("status", "small", environment=laptop))
        launch = ["launch", str(tmp_path / "small.yaml"), "--detach", "--storage", str(storage), *common]
        assert f"at {address}" in dicestudy(*launch, environment=environment)
        until(lambda: list(storage.glob("trials/*/checkpoint.pt")))
        found = json.loads(dicestudy("status", "small", "--json", environment=laptop))
        assert (found["state"], found["job"]) == ("running", "RUNNING")
        assert "asked to stop" in dicestudy("stop", "small", environment=laptop)
        assert "4 trials in 4 cells, 4 to run" in dicestudy("logs", "small", "--follow", environment=laptop)
        found = json.loads(dicestudy("status", "small", "--json", environment=laptop))
        assert found["state"] == "stopped"
        # Not detached: it says what the job says, and ends as it ends.
        launch.remove("--detach")
        said = dicestudy(*launch, environment=environment)
        assert "small: 4 of 4 trials done" in said
    assert len(make_plan(parse_study(text), Storage(storage)).results) == 4
    ends = statuses(f"sqlite:///{storage / 'mlflow.db'}")
    assert list(ends.values()) == ["FINISHED"] * 4


def dicestudy_may_fail(*arguments, environment):
    return subprocess.run([*CLI, *arguments], capture_output=True, text=True, env=environment, check=False).stderr


def test_paths_that_mean_nothing_on_a_cluster_are_refused_before_anything_is_sent(study_text):
    study = parse_study(study_text)
    places = Places("postgresql://me:secret@db/x", Storage(Path("relative")))
    with pytest.raises(InputError) as caught:
        launch_detached(study, study_text, places, "http://127.0.0.1:1")
    faults = [str(fault) for fault in caught.value.faults]
    assert "storage: relative is a relative path" in faults[0]
    assert "its address holds credentials" in faults[1]
    assert "secret" not in "".join(faults)


def test_where_no_job_server_answers_it_is_said_within_seconds(study_text, tmp_path):
    (tmp_path / "small.yaml").write_text(study_text)
    # A process of its own: Ray reads a cluster's token once.
    address, storage = f"http://127.0.0.1:{free_port()}", str(tmp_path / "storage")
    said = dicestudy("launch", str(tmp_path / "small.yaml"), "--storage", storage, "--address", address, code=2)
    assert "no Ray job server answers" in said
