"""The service's page as a browser shows it."""

import pytest

from tests.conftest import READER
from tests.study.test_browser import SECONDS, browser, new_page  # noqa: F401 - a fixture

pytestmark = pytest.mark.browser


def test_the_page_runs_a_query_with_a_token_and_asks_no_other_site(browser, served):  # noqa: F811
    asked = []
    with new_page(browser, {"width": 1280, "height": 900}) as page:
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{served.address}/docs")
        page.get_by_role("button", name="Authorize").first.click()
        page.get_by_label("auth-bearer-value").fill(READER)
        page.locator(".auth-btn-wrapper button.authorize").click()
        page.locator(".auth-btn-wrapper button.btn-done").click()
        route = page.locator("[id='operations-studies-status_studies__name__get']")
        route.locator(".opblock-summary").click()
        route.locator("input[placeholder='name']").fill("small")
        route.get_by_role("button", name="Execute").click()
        answer = route.locator(".responses-table.live-responses-table")
        answer.wait_for(timeout=60 * SECONDS)
        assert "200" in answer.inner_text().split()
        assert '"state": "done"' in answer.inner_text()
    assert asked
    assert all(url.startswith((served.address, "data:")) for url in asked)
