"""What a launch leaves for people: links to runs, and pictures of cases."""

import re

from mlflow import MlflowClient

from study.commands.report import report
from study.storage.tracking_uri import TrackingUri
from study.tracking.dashboard import DEFAULT_ADDRESS
from study.tracking.reader import experiment_id


def test_the_page_of_a_launch_links_every_cell_to_its_run(finished):
    page = (finished.storage.study("small") / "report.html").read_text()
    number = experiment_id("small", finished)
    runs = MlflowClient(finished.store).search_runs([number], "tags.`dicestudy.kind` = 'cell'")
    for run in runs:
        address = f"{DEFAULT_ADDRESS}/#/experiments/{number}/runs/{run.info.run_id}"
        cell = run.data.tags["dicestudy.cell"]
        assert re.search(f'<tr id="cell-{cell}"><td><code>{cell}</code> <a href="{re.escape(address)}"', page)
    assert f"Links to runs lead to {DEFAULT_ADDRESS}, where dicestudy dashboard" in page


def test_a_page_of_its_own_has_no_links_and_the_same_bytes_each_time(finished, tmp_path):
    first, second = (report("small", tmp_path / f"{number}.html", finished).read_bytes() for number in range(2))
    assert first == second
    assert b"/#/experiments/" not in first


def test_chosen_cases_are_drawn_on_the_page_and_as_files(finished):
    folder = finished.storage.study("small")
    assert {path.name for path in folder.glob("examples.*")} == {"examples.png", "examples.svg", "examples.pdf"}
    page = (folder / "report.html").read_text()
    assert page.count('aria-label="test-') >= 6
    assert "No pictures" not in page


def test_a_link_holds_no_password():
    assert TrackingUri("https://user:secret@host:5000/mlflow").without_credentials == "https://host:5000/mlflow"
    assert TrackingUri("http://host").without_credentials == "http://host"
