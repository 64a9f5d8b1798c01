"""The page of a run in a browser: it changes by itself, without a reload, until the run has ended."""

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
        yield page
        browser.close()


def test_what_changes_comes_by_itself(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    settings = Settings(data_dir=tmp_path)
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
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
    assert troubles == []
