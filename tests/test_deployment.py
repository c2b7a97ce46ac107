"""The whole service as the compose file has it: image, database, dashboard, cluster, REST; a study from post to map."""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from tests.containers import DOCKER, compose, image, interpolate, require
from tests.services import BROWSER_FLAGS, chromium

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

NAMES = ("DATABASE_PASSWORD", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY", "RAY_TOKEN", "API_TOKEN")
TEXT = (DOCKER / "compose.yaml").read_text()
MINUTES = 60


@pytest.fixture(scope="module")
def folder():
    require()
    with tempfile.TemporaryDirectory(prefix="dicestudy-deployment-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def given():
    return {name: secrets.token_hex(32) for name in NAMES} | {"DASHBOARD_HOSTS": "10.77.0.*"}


@pytest.fixture(scope="module")
def service(folder, given):
    with image("cpu", folder) as built:
        service = compose(TEXT, given, built, folder)
        try:
            service.up()
            yield service
        finally:
            keep_logs(folder)
            service.down()


def keep_logs(folder):
    if place := os.environ.get("DICESTUDY_TEST_LOGS"):
        Path(place).mkdir(parents=True, exist_ok=True)
        for log in folder.glob("*.log"):
            (Path(place) / log.name).write_bytes(log.read_bytes())


@pytest.fixture
def ask(service, given):
    address = f"http://{service.addresses['api']}:8000"

    def ask(method, path, token=given["API_TOKEN"], **options):
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        return requests.request(method, address + path, headers=headers, timeout=120, **options)

    return ask


@pytest.mark.parametrize("name", NAMES)
def test_without_a_secret_nothing_starts(name):
    every = dict.fromkeys(NAMES, "x" * 32)
    assert interpolate(TEXT, every)
    for value in ({}, {name: ""}):
        with pytest.raises(ValueError, match=f"required variable {name} is missing a value"):
            interpolate(TEXT, {**{other: "x" for other in NAMES if other != name}, **value})


def test_every_service_is_up_in_the_order_of_what_it_needs(service):
    assert service.started == ["postgres", "mlflow", "ray-head", "ray-worker", "api"]
    assert {"ray-worker", "ray-worker-2"} <= set(service.addresses)


def test_the_image_runs_as_nobody_special_and_may_write_where_it_must_alone(service):
    assert service.run("api", ["id", "-u"]).stdout.strip() == "10001"
    assert service.run("api", ["touch", "/data/any"]).returncode == 0
    assert service.run("api", ["touch", "/opt/dicestudy/any"]).returncode != 0


def test_strangers_are_refused_everywhere(service, ask):
    address = service.addresses
    assert ask("GET", "/studies", token="no token of this service").status_code == 401
    assert (
        requests.get(f"http://{address['mlflow']}:5000/api/2.0/mlflow/experiments/get", timeout=30).status_code == 401
    )
    assert requests.get(f"http://{address['ray-head']}:8265/api/jobs/", timeout=30).status_code == 401


def test_a_study_from_post_to_map(service, ask, study_text, given):
    posted = ask("POST", "/studies", data=study_text.encode(), headers={"Content-Type": "application/yaml"})
    assert posted.status_code == 202, posted.text
    deadline = time.monotonic() + 10 * MINUTES
    seen = set()
    # Before its driver runs, a study that was posted says that it is stopped.
    while (status := ask("GET", "/studies/small").json())["state"] != "done":
        assert time.monotonic() < deadline, status
        seen.add(status["state"])
        time.sleep(2)
    assert status["state"] == "done", status
    assert status["trials"]["done"] == 8
    assert "running" in seen
    best = ask("GET", "/studies/small/best", params={"goal": "ignore"}).json()
    # Of the eight cells, those that had maps to ignore.
    assert len(best) == 4
    assert best[0]["metrics"]
    mapped = ask("GET", "/studies/small/map").json()
    assert mapped["slices"]


def test_no_process_shows_a_secret(service, given):
    shown = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            shown.append(process.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    assert any("ray" in line for line in shown)
    for name, value in given.items():
        assert name == "DASHBOARD_HOSTS" or not any(value in line for line in shown), name
    for log in service.folder.glob("*.log"):
        text = log.read_text(errors="replace")
        assert not [name for name, value in given.items() if name in NAMES and value in text], log.name


def test_the_dashboard_opens_by_password(service, given, tmp_path):
    driver = pytest.importorskip("playwright.sync_api", reason="needs a browser's driver: pip install playwright")
    address = f"http://{service.addresses['mlflow']}:5000"
    login = {"username": "admin", "password": given["MLFLOW_ADMIN_PASSWORD"]}
    path = chromium()
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, chromium_sandbox=False, args=BROWSER_FLAGS)
        page = browser.new_context(http_credentials=login, viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(90_000)
        page.goto(f"{address}/#/experiments")
        page.get_by_role("link", name="small", exact=True).first.click()
        page.get_by_text(re.compile("what a loss does with labels")).first.wait_for()
        page.screenshot(path=tmp_path / "dashboard.png")
        browser.close()


def test_a_slurm_job_stops_when_told_and_the_next_one_goes_on(folder, study_text):
    """One node, whose batch shell gets the signal that Slurm sends before the time is over."""
    place = folder / "slurm"
    (place / "bin").mkdir(parents=True)
    for name, text in {
        "srun": 'while [ "$1" != ray ]; do shift; done; exec "$@"',
        "scontrol": "echo 127.0.0.1",
    }.items():
        (place / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (place / "bin" / name).chmod(0o755)
    (place / "study.yaml").write_text(study_text.replace("epochs: 2", "epochs: 6"))
    log = place / "first.log"
    with slurm_job(place, log) as (job, shell):
        wait_for(lambda: "done " in log.read_text(), 6 * MINUTES, log)
        shell.send_signal(signal.SIGTERM)
        job.wait(3 * MINUTES)
    assert "submit it again to continue" in log.read_text()
    assert list((place / "dicestudy-data").glob(".ray-token-*")) == []
    done = len(list((place / "dicestudy-data" / "trials").glob("*/result.json")))
    assert 0 < done < 8, log.read_text()
    with slurm_job(place, place / "second.log") as (job, _):
        assert job.wait(10 * MINUTES) == 0, (place / "second.log").read_text()
    assert "8 of 8 trials done" in (place / "second.log").read_text()
    assert f"8 cells, {8 - done} to run" in (place / "second.log").read_text()


@contextmanager
def slurm_job(place, log):
    """The batch script on a host of its own, where Ray finds, and ends, nobody else's processes."""
    alone = "ip link set lo up && mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /dev/shm"
    programs = f"{place / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {"SLURM_JOB_NODELIST": "one", "SLURM_JOB_NUM_NODES": "1", "SLURM_CPUS_PER_TASK": "2"}
    with log.open("wb") as output:
        job = subprocess.Popen(
            [
                *("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"),
                *("sh", "-c", f'{alone} && exec bash "$@"', "sh", str(DOCKER / "slurm.sbatch"), "study.yaml"),
            ],
            cwd=place,
            env=os.environ | given | {"PATH": programs, "SLURM_SUBMIT_DIR": str(place)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: psutil.Process(job.pid).children(), 10, log)
        yield job, psutil.Process(job.pid).children()[0]
    finally:
        job.kill()
        job.wait()


def wait_for(condition, seconds, log):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
