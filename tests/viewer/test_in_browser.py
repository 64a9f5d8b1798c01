"""The viewer in a headless Chromium: by keyboard, on a phone, in the dark, for everybody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from recorded import Dataset
from reviewed import read_current
from served import running
from viewing import SPEC, write_talk

from convoforge.api.app import make_app
from convoforge.ledger import Ledger
from convoforge.review.deciding import read_reviews
from convoforge.settings import Settings

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not shutil.which("chromium"), reason="there is no Chromium on this machine")

SHEEP = "/simulated/sheep"
PAGES = (
    SHEEP,  # first: the list of datasets reads itself again while it counts
    "/",
    f"{SHEEP}/conversations?text=wool",
    f"{SHEEP}/conversations/c1",
    f"{SHEEP}/conversations/c1?edit=1",
    "/costs",
    "/health",
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with Ledger(settings.database_url) as ledger:
        Dataset(ledger, "simulator").build(SPEC)
        write_talk(ledger)
    return settings


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    with running(make_app(settings)) as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.long
def test_conversations_are_reviewed_edited_and_undone_by_keyboard_alone(browser: Any, address: str, settings: Settings) -> None:
    page = browser.new_page()
    page.goto(f"{address}{SHEEP}/conversations?order=oldest")
    page.keyboard.press("/")
    page.keyboard.type("question")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=question**")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/conversations/c2?**")
    for key, then in (("a", "c3"), ("r", "c4"), ("s", "c5"), ("j", "c6"), ("k", "c5")):
        page.keyboard.press(key)
        page.wait_for_url(f"**/conversations/{then}?**")
    page.keyboard.press("n")
    page.keyboard.type("a j and an r are letters here")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    page.wait_for_url("**/conversations/c6?**")
    page.keyboard.press("u")
    page.wait_for_url("**/conversations/c5?**")
    page.keyboard.press("e")
    page.wait_for_selector("textarea")
    page.keyboard.press("Control+End")
    page.keyboard.type(", and <b>more</b>")
    page.keyboard.press("Control+Enter")
    page.wait_for_url("**/conversations/c6?**")
    page.close()
    with Ledger(settings.database_url) as ledger:
        decisions = {name: [one.decision for one in read_reviews(ledger, name)] for name in ("c2", "c3", "c4", "c5", "c6")}
        assert decisions == {"c2": ["accept"], "c3": ["reject"], "c4": ["revise"], "c5": ["reject", "undo", "edit"], "c6": []}
        assert read_reviews(ledger, "c5")[0].note == "a j and an r are letters here"
        assert read_current(ledger, "c5")[1].turns[0].content == "Question 5, and <b>more</b>"


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_phone_is_readable_for_all_and_runs_nothing_that_others_wrote(
    browser: Any, address: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page, said, faults = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for path in PAGES:
        assert page.goto(address + path).status == 200
        if path == "/health":
            page.wait_for_selector("text=as of")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, f"{path} is wider than a phone"
        assert page.title() != "run"
        for fault in axe.run(page).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                faults.append((path, fault["id"], [node["target"] for node in fault["nodes"]][:5]))
    context.close()
    assert said == faults == []


@pytest.mark.long
def test_without_a_script_forms_and_links_do_the_same(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}{SHEEP}/conversations/c9?order=oldest")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("user").fill("Which wool?")
    page.get_by_role("button", name="Save the edit").click()
    page.wait_for_url("**/conversations/c10?**")
    page.get_by_role("link", name="Previous").click()
    assert "Which wool?" in page.locator(".chat").first.text_content()
    page.get_by_role("button", name="Undo").first.click()
    assert "Question 9" in page.locator(".chat").first.text_content()
    context.close()


@pytest.mark.long
@pytest.mark.parametrize("scripts", [True, False])
def test_enter_in_a_note_decides_nothing(browser: Any, address: str, settings: Settings, scripts: bool) -> None:
    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    for query in ("?order=oldest", "?order=oldest&edit=1"):
        page.goto(f"{address}{SHEEP}/conversations/c12{query}")
        page.get_by_label("Note").fill("and what if")
        page.get_by_label("Note").press("Enter")
        page.wait_for_timeout(300)
        assert page.url.endswith(f"/c12{query}") and page.get_by_label("Note").input_value() == "and what if"
    context.close()
    with Ledger(settings.database_url) as ledger:
        assert read_reviews(ledger, "c12") == []
