"""The pages, asked for through the application as a browser does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from viewing import Pages


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with Pages.open(tmp_path_factory.mktemp("data")) as opened:
        yield opened


def test_datasets_are_listed(pages: Pages) -> None:
    page = pages.get("/")
    assert page.status_code == 200
    assert 'href="/simulated/sheep"' in page.text and "simulated" in page.text


def test_assets_are_kept_by_their_hash(pages: Pages) -> None:
    address = pages.get("/").text.partition('stylesheet" href="')[2].partition('"')[0]
    kept = pages.get(address)
    assert "immutable" in kept.headers["cache-control"] and kept.headers["content-type"].startswith("text/css")
    assert pages.get("/static/viewer.css").headers["cache-control"] == "no-cache"
    assert pages.get("/static/viewer.css", headers={"if-none-match": kept.headers["etag"]}).status_code == 304
    assert pages.get("/static/pages.py").status_code == 404


def test_an_error_is_a_page_for_a_browser_and_json_for_a_program(pages: Pages) -> None:
    page = pages.get("/nowhere")
    assert page.status_code == 404 and "There is no such page." in page.text
    assert pages.get("/nowhere", headers={"accept": "*/*"}).json()["error"]["type"] == "NotFound"
    assert pages.get("/api/nowhere").json()["error"]["type"] == "NotFound"


def test_no_page_holds_a_script_or_a_style_of_its_own(pages: Pages) -> None:
    for address in ("/", "/nowhere"):
        text = pages.get(address).text
        assert "<style" not in text and "style=" not in text and " onclick" not in text
        assert text.count("<script") == text.count("<script src=")
