"""The pages as a browser shows them: the report, alone and inside MLflow's dashboard."""

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mlflow import MlflowClient

from study.query import experiment_id
from tests.services import BROWSER_FLAGS, chromium, mlflow_server

pytestmark = pytest.mark.browser

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
        drawn = [figure.bounding_box() for figure in page.query_selector_all("#map ~ figure svg")]
        assert len(drawn) >= 2
        # Heat maps of few rows are flat.
        assert all(box["width"] > 300 and box["height"] > 60 for box in drawn)
        # Every place that the menu names is there.
        links = [link.get_attribute("href") for link in page.query_selector_all("nav a")]
        assert links
        assert all(page.query_selector(link) is not None for link in links)


def test_the_report_fits_a_phone(browser, report, tmp_path):
    with new_page(browser, PHONE) as page:
        page.goto(report.as_uri())
        picture(page, tmp_path, "phone", whole=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_dashboard_shows_the_study(browser, finished, tmp_path):
    client = MlflowClient(finished.store)
    number = experiment_id("small", finished)
    (run,) = client.search_runs([number], "tags.`dicestudy.kind` = 'study'")
    note = "what a loss does with labels that are missing"
    cells = client.search_runs([number], "tags.`dicestudy.kind` = 'cell'")
    with mlflow_server(finished.store, tmp_path / "artifacts") as server, new_page(browser, DESK) as page:
        page.goto(f"{server.address}/#/experiments/{number}/runs")
        page.get_by_text("study small", exact=True).first.wait_for()
        page.get_by_text(note).first.wait_for()
        picture(page, tmp_path, "runs")
        for cell in cells:
            assert page.get_by_text(cell.info.run_name, exact=True).count() >= 1, cell.info.run_name

        page.goto(f"{server.address}/#/experiments/{number}/runs/{run.info.run_id}")
        page.get_by_text(note).first.wait_for()
        picture(page, tmp_path, "study-run")

        page.goto(f"{server.address}/#/experiments/{number}/runs/{run.info.run_id}/artifacts/report.html")
        page.frame_locator("iframe").get_by_role("heading", name="Transition map").wait_for()
        picture(page, tmp_path, "artifact")
        box = page.frame_locator("iframe").locator("figure svg").first.bounding_box()
        assert box["width"] > 200
