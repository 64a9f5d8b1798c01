"""What somebody does who has never seen the project: builds the demo, opens the viewer, reviews, edits, publishes, and looks at the data."""

from __future__ import annotations

import re
import shutil
import signal
from typing import Any

import polars as pl
import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

REVIEWED = 10


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no Chromium on this machine")
def test_an_edit_made_in_the_browser_is_in_the_parquet(project: Any, prefect_server: str) -> None:
    built = project.run("build", "demo", "--simulate", "--yes", timeout=300, PREFECT_API_URL=prefect_server)
    assert built.code in (0, 3), built.err
    process = project.start("serve", "--port", "0")
    try:
        line = process.stdout.readline()
        assert "no API key: to look and review" in line
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(re.search(r"http://\S+", line)[0])
            page.get_by_role("link", name="demo").click()
            page.get_by_role("link", name="Review", exact=True).click()
            page.wait_for_url("**/conversations/*?queue=all")
            first, seen = re.search(r"conversations/(\w+)", page.url)[1], []
            for _ in range(REVIEWED):
                here = re.search(r"conversations/(\w+)", page.url)[1]
                seen.append(here)
                if here == first:
                    page.keyboard.press("e")
                    page.wait_for_selector("textarea")
                    page.keyboard.press("Control+Home")
                    page.keyboard.type("Read by a person. ")
                    page.keyboard.press("Control+Enter")
                else:
                    page.keyboard.press("a")
                page.wait_for_url(lambda url, here=here: f"conversations/{here}" not in url)
            assert len(set(seen)) == REVIEWED
            page.get_by_role("link", name="demo").click()
            page.get_by_role("button", name="Publish").click()
            page.wait_for_url("**?published#versions")
            told = page.get_by_role("status").text_content()
            assert "Version 2 is published" in told
            page.get_by_role("link", name="report").first.click()
            page.wait_for_url("**/versions/2/report.html")
            assert page.title() == "demo, version 2: report"
            assert (
                page.evaluate("getComputedStyle(document.querySelector('.tiles')).display") == "grid"
            )  # its own style is allowed
            browser.close()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    finally:
        process.kill()
        process.communicate()
    rows = pl.read_parquet(project.folder / "data" / "simulated" / "demo" / "latest" / "data" / "*.parquet")
    edited = rows.filter(pl.col("conversation_id") == first).to_dicts()
    assert [one["content"].startswith("Read by a person. ") for one in edited[0]["messages"] if one["role"] == "user"][0]
    assert "edited" in edited[0]["flags"] and rows.filter(pl.col("flags").list.contains("edited")).height == 1
