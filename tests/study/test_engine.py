"""Ray Tune itself: the same results as inline, and a driver killed in the middle."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import ray
from mlflow import MlflowClient

from study.commands.launch import INLINE, launch
from study.config.load import parse_study
from study.planning.plan import make_plan
from study.storage.folders import Storage
from study.storage.locations import Places
from trainers.data.prepared.read import is_prepared
from trainers.data.prepared.write import prepare
from trainers.errors import InputError
from trainers.result import CASES_FILE, load_result

pytestmark = pytest.mark.engine


def runs(places):
    client = MlflowClient(places.store)
    return client.search_runs([client.get_experiment_by_name("small").experiment_id], max_results=1000)


def endings(places, study):
    """Per-case table and figures of every trial, times left out."""
    found = {}
    for spec in make_plan(study, places.storage).trials:
        folder = places.storage.trial(spec.key)
        result = load_result(folder)
        found[spec.key] = (result.metrics, result.counts, (folder / CASES_FILE).read_bytes())
    return found


def test_two_launches_prepare_the_same_data_and_one_is_killed(study_text, tmp_path):
    """Who prepares dies halfway; who waits goes on with what is there, and leaves one whole copy."""
    text = study_text.replace("train: 8, test: 6", "train: 160, test: 40, shape: [48, 48, 32], radius: [7.0, 10.0]")
    data = parse_study(text).data
    folder = tmp_path / "storage" / "prepared" / data.key()

    def start(name):
        (tmp_path / f"{name}.yaml").write_text(text.replace("name: small", f"name: {name}"))
        command = [
            *(sys.executable, "-m", "study.cli", "launch", str(tmp_path / f"{name}.yaml"), "--quiet"),
            *("--store", f"sqlite:///{tmp_path / name}.db", "--storage", str(tmp_path / "storage")),
        ]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)

    def wait(until):
        deadline = time.monotonic() + 240
        while not until():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    first, second = start("first"), start("second")
    try:
        wait(lambda: len(list(folder.glob("*.case.json"))) >= 20)
        holder = (folder / "lock").read_text()
        killed, left = (first, second) if f"process {first.pid} " in holder else (second, first)
        killed.send_signal(signal.SIGKILL)
        assert not is_prepared(folder)
        wait(lambda: is_prepared(folder))
        assert left.poll() is None
    finally:
        for driver in (first, second):
            driver.terminate()
            driver.wait(120)
    assert not list(folder.glob(".*.tmp"))
    fresh = prepare(data, tmp_path / "fresh")
    for path in fresh.iterdir():
        if path.name != "lock":
            assert (folder / path.name).read_bytes() == path.read_bytes()


def test_a_driver_killed_halfway_and_launched_again(study_text, tmp_path):
    text = study_text.replace("epochs: 2", "epochs: 12")
    study = parse_study(text)
    (tmp_path / "study.yaml").write_text(text)
    undisturbed = Places(f"sqlite:///{tmp_path / 'u.db'}", Storage(tmp_path / "undisturbed"))
    launch(study, undisturbed, address=INLINE, quiet=True)

    places = Places(f"sqlite:///{tmp_path / 'mlflow.db'}", Storage(tmp_path / "storage"))
    command = [
        *(sys.executable, "-m", "study.cli", "launch", str(tmp_path / "study.yaml")),
        *("--store", places.store, "--storage", str(places.storage.root)),
    ]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 240
    while len(list(places.storage.root.glob("trials/*/result.json"))) < 3:
        assert driver.poll() is None, driver.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stderr.close()
    done = len(make_plan(study, places.storage).results)
    assert 3 <= done < 8

    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "Traceback" not in again.stderr
    counts = Counter((run.data.tags["dicestudy.kind"], run.info.status) for run in runs(places))
    assert counts == {("study", "FINISHED"): 1, ("cell", "FINISHED"): 8, ("trial", "FINISHED"): 8}
    assert len({run.data.tags["dicestudy.key"] for run in runs(places) if "mlflow.parentRunId" in run.data.tags}) == 8
    assert endings(places, study) == endings(undisturbed, study)

    third = launch(study, places, quiet=True)
    assert (third.started, third.done) == (0, 8)


def test_a_stopped_study_goes_on_where_it_was(study_text, tmp_path):
    text = study_text.replace("epochs: 2", "epochs: 40")
    study = parse_study(text)
    (tmp_path / "study.yaml").write_text(text)
    places = Places(f"sqlite:///{tmp_path / 'mlflow.db'}", Storage(tmp_path / "storage"))
    common = ["--store", places.store, "--storage", str(places.storage.root)]
    command = [sys.executable, "-m", "study.cli"]
    environment = {**os.environ, "COLUMNS": "200"}
    driver = subprocess.Popen(
        [*command, "launch", str(tmp_path / "study.yaml"), *common], stderr=subprocess.PIPE, env=environment
    )
    deadline = time.monotonic() + 240
    while not list(places.storage.root.glob("trials/*/checkpoint.pt")):
        assert driver.poll() is None, driver.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    status = subprocess.run([*command, "status", "small", *common], capture_output=True, text=True, check=True)
    assert "small: running" in status.stdout
    stopped = subprocess.run([*command, "stop", "small", *common], capture_output=True, text=True, check=False)
    assert stopped.returncode == 0, stopped.stderr
    driver.communicate(timeout=120)
    assert driver.returncode == 1
    assert "RUNNING" not in {run.info.status for run in runs(places)}
    left = make_plan(study, places.storage)
    assert left.to_run
    idle = subprocess.run([*command, "stop", "small", *common], capture_output=True, text=True, check=False)
    assert (idle.returncode, "not running" in idle.stderr) == (1, True)


def test_an_address_where_no_cluster_is(study, places):
    with pytest.raises(InputError, match="no Ray cluster answers"):
        launch(study, places, address="127.0.0.1:9", quiet=True)


@contextmanager
def ray_head(folder):
    """A Ray cluster of one node in processes of its own; its address."""
    host = ray.util.get_node_ip_address()  # Ray takes a loopback address for this one
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    sockets = tempfile.mkdtemp()  # a short path, since Ray keeps sockets below it
    command = [
        *(str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--port", str(port)),
        *("--node-ip-address", host, "--num-cpus", "2", "--include-dashboard", "false"),
        *("--disable-usage-stats", "--temp-dir", sockets),
    ]
    log = folder / "ray.log"
    with log.open("w") as output:
        head = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in log.read_text():
            assert head.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield f"{host}:{port}"
        assert head.poll() is None  # a cluster that was there before the study is there after it
    finally:
        for process in [*psutil.Process(head.pid).children(recursive=True), head]:
            process.kill()
        head.wait()
        shutil.rmtree(sockets, ignore_errors=True)


def test_an_existing_cluster_by_its_address(study_text, places, tmp_path):
    text = study_text.replace("phi: [I, BI]", "phi: I").replace("[1.0e-7, v_hat]", "1.0e-7")
    (tmp_path / "study.yaml").write_text(text)
    (tmp_path / "large.yaml").write_text(text + "resources: {cpus: 64}\n")

    def call(name, address):
        # In a process of its own: Ray reads how to authenticate when it is imported.
        command = [
            *(sys.executable, "-m", "study.cli", "launch", str(tmp_path / name), "--address", address),
            *("--store", places.store, "--storage", str(places.storage.root)),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ray_head(tmp_path) as address:
        refused = call("large.yaml", address)
        assert refused.returncode == 2, refused.stderr
        assert "a trial asks for 64, and the cluster at" in refused.stderr
        ended = call("study.yaml", address)
    assert ended.returncode == 0, ended.stderr
    assert "2 of 2 trials done" in ended.stdout
    assert {run.info.status for run in runs(places)} == {"FINISHED"}
