"""The pages of runs in a browser: they change by themselves, without a reload, until the run has ended."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from followed import GoingRun
from served import running

from convoforge.api.app import make_app
from convoforge.ledger import Ledger
from convoforge.settings import Settings

pytestmark = pytest.mark.long  # a browser takes some seconds to start


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Prefect server."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.route(re.compile(r"^https?://(?!127\.0\.0\.1[:/])"), lambda route: route.abort())
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        yield page
        browser.close()
        assert troubles == []


def test_what_changes_comes_by_itself(page: Any, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with Ledger(settings.database_url) as ledger, running(make_app(settings, simulate=True)) as client:
        run = GoingRun.begin(ledger)
        run.note(queue=1)
        page.goto(f"{client.base_url}/runs/{run.id}")
        loads: list[str] = []
        page.on("load", lambda _: loads.append(page.url))
        run.note("waiting for the rate limit", queue=7)
        page.get_by_text("waiting for the rate limit (7 requests in the queue)").wait_for()
        run.fail("no room (429) <img src=x onerror=alert(1)>")
        page.get_by_text("1 × retried: no room (429) <img src=x onerror=alert(1)>").wait_for(timeout=15_000)
        assert loads == []  # nothing was loaded again until here
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        run.end()
        page.locator(".state.completed").wait_for()
        assert page.get_by_text("published by this run").is_visible()


def test_the_list_follows_its_runs_and_leaves_the_focus_where_it_is(page: Any, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with Ledger(settings.database_url) as ledger, running(make_app(settings, simulate=True)) as client:
        run = GoingRun.begin(ledger)
        page.goto(f"{client.base_url}/runs")
        loads: list[str] = []
        page.on("load", lambda _: loads.append(page.url))
        page.locator(f'a[href="/runs/{run.id}"]').focus()
        run.note()  # with another rate than the spec's
        page.get_by_text("of 40 requests").wait_for(timeout=15_000)
        other = GoingRun.begin(ledger)
        page.locator(f'a[href="/runs/{other.id}"]').wait_for(timeout=15_000)
        run.end()
        other.end()
        page.locator(".state.completed").nth(1).wait_for(timeout=15_000)
        assert page.evaluate("document.activeElement.getAttribute('href')") == f"/runs/{run.id}"
        listed = page.evaluate("[...document.querySelectorAll('#runs tr')].map((row) => row.id)")
        assert listed == re.findall('<tr id="([^"]+)', client.get("/runs", headers={"accept": "text/html"}).text)
        assert loads == [] and page.evaluate("'goesOn' in document.getElementById('runs').dataset") is False
        page.context.set_offline(True)  # nothing is asked for any more
        page.wait_for_timeout(3_500)
