"""The report of a version: what it shows, that it runs nothing, and that the same rows give the same bytes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from publish.conftest import Dataset, Layout, make_row, make_rows, talk

from convoforge.models import Quality, ScorerResult, Status
from convoforge.publish import PublishedRow
from convoforge.publish.measures import measure
from convoforge.publish.report import LedgerFacts, RunCost, chart_lengths
from convoforge.publish.variety import GROUP, measure_variety

Rows = Callable[..., list[PublishedRow]]

HOSTILE = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\"> {{ 7 * 7 }} </p></style> \u202e"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(published: Any) -> Page:
    return Page(published.path / "report.html")


def spoiled(number: int) -> PublishedRow:
    conversation = talk(f"{HOSTILE} {number}?", HOSTILE, system=HOSTILE)
    return make_row(number, conversation=conversation, persona=HOSTILE, topic=f"{HOSTILE} {number}", model=HOSTILE)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    def publish(folder: str) -> Any:
        dataset = Dataset(Layout(tmp_path / folder / "data", "datasets", "advice"))
        return dataset.publish(make_rows(300), make_rows(5, status=Status.DROPPED, reasons=("no",)), fingerprint="f")

    assert (publish("a").path / "report.html").read_bytes() == (publish("b").path / "report.html").read_bytes()


def test_it_is_one_file_that_reaches_nothing_and_runs_nothing(dataset: Any) -> None:
    published = dataset.publish(
        [*make_rows(40), *map(spoiled, range(40, 60))], [replace(spoiled(70), status=Status.DROPPED, reasons=(HOSTILE,))]
    )
    page = page_of(published)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "iframe", "link", "object", "embed", "form", "base"}
    assert all(
        value is None or value.startswith("#")
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("href", "src")
    )
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "default-src 'none'" in next(
        attributes["content"] or "" for _, attributes in page.tags if attributes.get("http-equiv")
    )
    assert HOSTILE.replace("\u202e", "\\u202e") in page.text and "\u202e" not in page.text
    assert "url(" not in (published.path / "report.html").read_text() and "@import" not in page.text


@pytest.mark.long
def test_a_browser_shows_a_script_and_runs_none(dataset: Any) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("there is no Chromium on this machine")
    published = dataset.publish([*map(spoiled, range(12))])
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto((published.path / "report.html").as_uri())
        title, said = page.title(), page.locator(".chat .assistant").first.text_content()
        width = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert title == "advice, version 1: report"
    assert said.startswith("assistant: <script>")
    assert width == 390, "nothing pushes the page wider than a phone"


def test_what_was_not_accepted_is_told_reason_by_reason_with_personal_data_masked(dataset: Any) -> None:
    fault = ScorerResult("pii", 1, None, None, "drop", "turn 3 (user): an e-mail address of 18 characters")
    personal = talk("Hi", "Hello", "Write to ann@example.com or call +1 (212) 555-0147", "I will", system=None)
    low = Quality(4, ())
    beside = [
        make_row(90, status=Status.FAILED, conversation=None, quality=None, reasons=("the API refused the request (400): no",)),
        make_row(
            91, status=Status.DROPPED, conversation=None, quality=None, raw_text="x", reasons=("truncated: it was cut off",)
        ),
        *(
            make_row(n, status=Status.DROPPED, conversation=personal, quality=Quality(9, (fault,)), reasons=(fault.why or "",))
            for n in range(92, 97)
        ),
        make_row(98, status=Status.NEEDS_REVISION, quality=low, reasons=("score 4 is below 6", "length: …")),
        make_row(99, status=Status.DROPPED, reasons=("duplicate of conversation 0000",)),
    ]
    text = page_of(dataset.publish(make_rows(11), beside)).text
    order = ["refused by the API", "no conversation: truncated", "filter pii", "score below 6", "duplicates of accepted ones"]
    assert sorted(order, key=text.index) == order
    assert text.count("Write to [an e-mail address] or call [a phone number]") == 3
    assert "ann@example" not in text and "0147" not in text


def test_twenty_conversations_are_spread_over_the_version(dataset: Any) -> None:
    page = page_of(dataset.publish(make_rows(200)))
    chats = [attributes for tag, attributes in page.tags if tag == "details" and "card" in (attributes.get("class") or "")]
    assert len(chats) == 20
    assert len(set(re.findall(r"Question (\d+)\?", page.text))) == 20


def test_a_long_conversation_is_cut_and_the_file_stays_small(dataset: Any) -> None:
    endless = talk(*("word " * 800 for _ in range(60)), system=None)
    published = dataset.publish([make_row(n, conversation=endless, topic=f"topic {n}") for n in range(22)])
    assert (published.path / "report.html").stat().st_size < 5_000_000
    assert "20 more turns" in page_of(published).text


def test_every_two_axes_have_a_map_of_their_cells(dataset: Any) -> None:
    rows = [make_row(n, emotion=("Calm", "Fear")[n % 2]) for n in range(24)]
    facts = LedgerFacts(planned={("persona", "topic"): {("Persona 0", "Topic 0"): 9, ("Persona 0", "Topic 9"): 1}})
    text = (dataset.publish(rows, facts=lambda: facts).path / "report.html").read_text()
    assert re.findall("<figcaption>(.*?)</figcaption>", text) == ["topic × persona", "topic × emotion", "persona × emotion"]
    assert 'title="2 of 9 wanted">2</td>' in text
    assert 'title="0 of 1 wanted">0</td>' in text, "what was planned and is not there has a cell"


def test_cost_estimate_and_latency_are_those_of_the_ledger(dataset: Any) -> None:
    run = RunCost("a" * 32, 9, Decimal("0.50"), (Decimal("0.2"), Decimal("0.4"), Decimal(1)))
    facts = LedgerFacts(runs=[run], latencies={12: 90, 300: 10}, spent_usd=Decimal("0.75"))
    text = page_of(dataset.publish(make_rows(10, cost_usd=Decimal("0.05")), facts=lambda: facts)).text
    for told in (
        "accepted conversations$0.50",
        "calls without an answer, earlier answers$0.25",
        "median 1.2",
        "95 % 30",
        "$0.40$0.509",
    ):
        assert told in re.sub(r"\n\s*", "", text), told


def test_nearest_neighbors_and_the_judge_are_told_where_the_ledger_knows_of_them(dataset: Any) -> None:
    facts = LedgerFacts(alike={47: 2, 50: 1}, judged_usd=Decimal("0.20"), spent_usd=Decimal("0.50"))
    text = re.sub(r"\s+", " ", page_of(dataset.publish(make_rows(10, cost_usd=Decimal("0.03")), facts=lambda: facts)).text)
    assert (
        "7 of 10 conversations have no other one of this version that is alike to 40% or more, by runs of five words. The chart shows the other 3."
        in text
    )
    assert "the judge $0.20" in text.replace("judge$", "judge $")
    assert re.search(r"cost of each ?\$0\.05 ?all that was paid, for each accepted one", text)
    assert "Nearest neighbors" not in page_of(dataset.publish(make_rows(9))).text


def test_the_next_version_compares_itself_with_the_one_before(dataset: Any) -> None:
    dataset.publish(make_rows(40))
    alike = [make_row(n, conversation=talk("The same words?", "The same answer.")) for n in range(40)]
    text = re.sub(r"\s+", " ", page_of(dataset.publish(alike)).text)
    assert "This version and version 1" in text
    said = re.search(r"turns said before\s*(\d+)%\s*(\d+)%", text)
    assert said is not None and int(said[1]) < int(said[2])


def test_what_is_new_in_a_group_does_not_depend_on_how_many_groups_there_are(dataset: Any) -> None:
    def words(n: int) -> PublishedRow:
        return make_row(n, conversation=talk(f"alpha beta {n} gamma", f"delta {n + 10_000} epsilon", system=None))

    figures = []
    for many in (GROUP, 30 * GROUP):
        files = sorted(Path(str(dataset.publish([words(n) for n in range(many)]).path)).glob("data/*.parquet"))
        figures.append(measure_variety(files, seed=1, tokens=50).overall)
    assert figures[0].distinct == pytest.approx(figures[1].distinct, abs=0.02)
    assert figures[0].distinct[0] == pytest.approx((5 + 2 * GROUP) / (7 * GROUP), abs=0.02)
    assert figures[1].conversations == 30 * GROUP


def test_the_charts_stand_alone_as_pictures(dataset: Any) -> None:
    plots = dataset.publish(make_rows(50)).plots
    assert set(plots) == {"scores", "lengths"}
    for svg in plots.values():
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("lengths", [[1], [300, 301], [10, 9_000], list(range(1, 4_000, 37))])
def test_the_bars_of_a_histogram_hold_every_row_once(dataset: Any, lengths: list[int]) -> None:
    rows = [make_row(n, conversation=talk("x" * length, "y", system=None)) for n, length in enumerate(lengths)]
    files = sorted(Path(str(dataset.publish(rows).path)).glob("data/*.parquet"))
    chart = chart_lengths(measure({"all": files}, None))
    assert sum(count for *_, count in chart.bars) == len(lengths) and len(chart.bars) <= 28
    assert all(low < high == following for (low, high, _), (following, *_) in zip(chart.bars, chart.bars[1:], strict=False))
