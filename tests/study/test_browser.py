"""The pages as a browser shows them: the report, alone and inside MLflow's dashboard."""

import base64
import os
import re
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import requests
from mlflow import MlflowClient

from study.tracking.reader import experiment_id
from study.tracking.saved_views import view_path
from study.tracking.schema import CURVES
from tests.services import BROWSER_FLAGS, SECONDS_TO_START, chromium, free_port, mlflow_server

pytestmark = pytest.mark.browser

NOTE = "what a loss does with labels that are missing"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SECONDS = 1000
"""In a browser's milliseconds."""


@pytest.fixture(scope="module")
def browser():
    driver = pytest.importorskip("playwright.sync_api", reason="needs a browser's driver: pip install playwright")
    path = chromium()
    with driver.sync_playwright() as playwright, TemporaryDirectory(prefix="dicestudy-browser-") as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=path,
            headless=True,
            chromium_sandbox=False,  # root has none
            args=BROWSER_FLAGS,
            viewport=DESK,
        )
        yield context
        context.close()


@contextmanager
def new_page(browser, size):
    page = browser.new_page()
    page.set_viewport_size(size)
    page.set_default_timeout(40 * SECONDS)
    try:
        yield page
    finally:
        page.close()


@pytest.fixture
def report(finished):
    return finished.storage.study("small") / "report.html"


def picture(page, folder: Path, name: str, whole: bool = False) -> None:
    page.screenshot(path=folder / f"{name}.png", full_page=whole)


def assert_hovering_tells_a_cell(page) -> None:
    cell = page.locator("svg.heat a").first
    cell.hover()
    assert page.locator(".told").first.inner_text() == cell.get_attribute("data-told")
    assert "retention" in cell.get_attribute("data-told")


def test_the_report_opens_whole_and_asks_the_network_for_nothing(browser, report, tmp_path):
    with new_page(browser, DESK) as page:
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri(), wait_until="networkidle")
        picture(page, tmp_path, "report", whole=True)
        assert page.inner_text("h1") == "small"
        assert (said, asked) == ([], [report.as_uri()])
        drawn = [figure.bounding_box() for figure in page.query_selector_all("#map ~ figure svg:not(.slices svg)")]
        assert len(drawn) >= 2
        # Heat maps of few rows are flat.
        assert all(box["width"] > 300 and box["height"] > 60 for box in drawn)
        assert_hovering_tells_a_cell(page)
        linked = page.locator("svg.heat a").first.get_attribute("href")
        assert linked.startswith("http://127.0.0.1:5000/#/experiments/")
        # Chosen cases: the label and what setups found, side by side.
        assert page.locator(".slices svg").count() >= 6
        assert (said, asked) == ([], [report.as_uri()])
        # Every place that the menu names is there.
        links = [link.get_attribute("href") for link in page.query_selector_all("nav a")]
        assert links
        assert all(page.query_selector(link) is not None for link in links)


def test_the_report_fits_a_phone(browser, report, tmp_path):
    with new_page(browser, PHONE) as page:
        page.goto(report.as_uri())
        picture(page, tmp_path, "phone", whole=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.fixture(scope="module")
def dashboard(finished, tmp_path_factory):
    """MLflow with its log-in on the finished study."""
    password = secrets.token_hex(16)
    with mlflow_server(finished.store, tmp_path_factory.mktemp("dashboard") / "artifacts", password=password) as server:
        yield server.address, password


@contextmanager
def logged_in(browser, dashboard):
    """A page of somebody who has given the password, as a browser asks for it."""
    address, password = dashboard
    word = base64.b64encode(f"admin:{password}".encode()).decode()
    with new_page(browser, DESK) as page:
        page.set_extra_http_headers({"Authorization": f"Basic {word}"})
        # The interface's panel of an assistant opens by itself once, over what is to be seen.
        page.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        yield page, address


@pytest.fixture
def runs(finished):
    """The experiment's number, its study's run, and a question for its cells."""
    client = MlflowClient(finished.store)
    number = experiment_id("small", finished)
    (run,) = client.search_runs([number], "tags.`dicestudy.kind` = 'study'")

    def cells(order=()):
        return client.search_runs([number], "tags.`dicestudy.kind` = 'cell'", order_by=list(order))

    return number, run, cells


def test_the_dashboard_asks_for_a_password(browser, dashboard):
    assert requests.get(f"{dashboard[0]}/", timeout=30).status_code == 401
    with logged_in(browser, dashboard) as (page, address):
        assert page.goto(f"{address}/").status == 200


def test_an_experiment_opens_on_its_cells_and_sorts_by_a_metric(browser, dashboard, runs, tmp_path):
    number, _, cells = runs
    with logged_in(browser, dashboard) as (page, address):
        page.goto(f"{address}/{view_path(number)}")
        page.get_by_text(NOTE).first.wait_for()
        for link in ("Report", "transition map", "table"):
            assert page.get_by_role("link", name=link, exact=True).first.is_visible()
        names = names_in_order(page, len(cells()))
        assert names == [cell.info.run_name for cell in cells(["metrics.`final.retention.tumor` DESC"])]
        # The study's run and the trials have views of their own.
        assert page.get_by_text("study small", exact=True).count() == 0
        picture(page, tmp_path, "cells")

        page.get_by_role("columnheader", name="final.dsc.A.tumor").first.click()
        page.wait_for_url(re.compile("orderByKey=metrics.*dsc.A.tumor"))
        by_score = [cell.info.run_name for cell in cells(["metrics.`final.dsc.A.tumor` DESC"])]
        deadline = time.monotonic() + 20
        while names_in_order(page, len(by_score)) not in (by_score, by_score[::-1]):
            assert time.monotonic() < deadline, names_in_order(page, len(by_score))
            page.wait_for_timeout(500)
        picture(page, tmp_path, "sorted")


def names_in_order(page, count):
    """Names of the runs in the table, from its top."""
    rows = page.locator(".ag-root [role=row] a[href*='/runs/']")
    rows.nth(count - 1).wait_for()
    placed = [(row.bounding_box()["y"], row.inner_text()) for row in rows.all() if row.bounding_box()]
    return [name for _, name in sorted(placed)]


def test_settings_and_results_are_compared_side_by_side(browser, dashboard, runs, tmp_path):
    number, _, _ = runs
    with logged_in(browser, dashboard) as (page, address):
        page.goto(f"{address}/{view_path(number)}&compareRunsMode=CHART")
        page.get_by_text("Parallel Coordinates").first.wait_for()
        for axis in ("phi", "labeling"):
            page.locator("svg text", has_text=axis).first.wait_for()
        picture(page, tmp_path, "parallel")
        page.goto(f"{address}/{view_path(number, CURVES)}")
        for metric in ("train.loss", "val.dsc.A.tumor", "val.dsc.B.tumor"):
            page.get_by_text(metric, exact=True).first.wait_for()
        page.locator(".js-line").first.wait_for(state="attached")
        picture(page, tmp_path, "curves")


def test_the_report_opens_in_place_with_its_map(browser, dashboard, runs, tmp_path):
    number, run, _ = runs
    with logged_in(browser, dashboard) as (page, address):
        page.goto(f"{address}/#/experiments/{number}/runs/{run.info.run_id}")
        page.get_by_text(NOTE).first.wait_for()
        picture(page, tmp_path, "study-run")
        # It opens a page of its own, to which this one's headers would not go along.
        page.goto(f"{address}/{page.get_by_role('link', name='Report', exact=True).first.get_attribute('href')}")
        page.frame_locator("iframe").get_by_role("heading", name="Transition map").wait_for()
        picture(page, tmp_path, "artifact")
        box = page.frame_locator("iframe").locator("figure svg").first.bounding_box()
        assert box["width"] > 200
        assert_hovering_tells_a_cell(page.frame_locator("iframe"))


@pytest.fixture
def service(finished, tmp_path):
    """The REST service on the finished study, for this machine alone."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    given = {"DICESTUDY_STORE": finished.store, "DICESTUDY_STORAGE": str(finished.storage.root)}
    with (tmp_path / "serve.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "study.cli", "serve", "--port", str(port)],
            env=os.environ | given,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + SECONDS_TO_START
            while True:
                with suppress(requests.ConnectionError):
                    requests.get(f"{address}/healthz", timeout=10)
                    break
                assert time.monotonic() < deadline, log.read()
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait(30)


def test_the_service_describes_itself_and_answers_a_question(browser, service, tmp_path):
    with new_page(browser, DESK) as page:
        page.goto(f"{service}/docs")
        page.get_by_text("/studies/{name}/best", exact=True).click()
        page.get_by_placeholder("name").first.fill("small")
        page.get_by_role("button", name="Execute").first.click()
        answer = page.locator(".live-responses-table .response-col_description pre").first
        answer.wait_for()
        assert '"params"' in answer.inner_text()
        picture(page, tmp_path, "docs")
