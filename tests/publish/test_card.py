"""The card of a version, for `datasets` and for people."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, DatasetCardData
from markdown_it import MarkdownIt
from publish.conftest import LINEAGE
from support import quality

from convoforge.models import Conversation, Status
from convoforge.printable import printable_line
from convoforge.publish import PublishedRow
from convoforge.publish.card import size_category
from convoforge.publish.manifest import Lineage, Manifest
from convoforge.publish.report import LedgerFacts
from convoforge.reasons import Reason

Rows = Callable[..., list[PublishedRow]]


def card_of(published: Any) -> str:
    text: str = (published.path / "README.md").read_text(encoding="utf-8")
    return text


def test_the_metadata_is_what_the_hub_and_its_loader_read(dataset: Any, make_rows: Rows) -> None:
    published = dataset.publish(make_rows(48), license="CC-BY-4.0", languages=["no"])
    found = DatasetCard.load(published.path / "README.md", ignore_metadata_errors=False).data.to_dict()
    assert (
        found
        == {
            "pretty_name": "Advice",
            "language": ["no"],  # in YAML without quotes it would be false
            "license": "cc-by-4.0",
            "size_categories": ["n<1K"],
            "task_categories": ["text-generation"],
            "annotations_creators": ["machine-generated"],
            "language_creators": ["machine-generated"],
            "tags": ["synthetic", "conversational", "convoforge"],
            "configs": [
                {
                    "config_name": f"advice-v0001-{published.sha256[:8]}",
                    "default": True,
                    "data_files": [
                        {"split": "train", "path": "data/train-*.parquet"},
                        {"split": "validation", "path": "data/validation-*.parquet"},
                    ],
                }
            ],
        }
    )
    assert DatasetCardData(**found).to_dict() == found
    assert "License: `CC-BY-4.0`." in card_of(published)


def test_another_license_makes_another_version_of_the_same_rows(dataset: Any, make_rows: Rows) -> None:
    same = {"fingerprint": "f"}
    first = dataset.publish(make_rows(6), **same)
    assert dataset.publish(make_rows(6), **same).unchanged
    second = dataset.publish(make_rows(6), license="LicenseRef-Acme-Internal", **same)
    assert (second.version, second.sha256) == (2, first.sha256)
    assert "\nlicense: other\nlicense_name: Acme-Internal\n" in card_of(second)
    assert "license" not in yaml.safe_load(card_of(first).split("---\n")[1])


@pytest.mark.parametrize(
    ("rows", "category"), [(999, "n<1K"), (1_000, "1K<n<10K"), (99_999, "10K<n<100K"), (1_000_000, "1M<n<10M")]
)
def test_the_size_is_one_of_the_hubs_categories(rows: int, category: str) -> None:
    assert size_category(rows) == category


def test_without_tensors_of_money_and_times_a_split_becomes_torch(
    dataset: Any, make_rows: Rows, load: Callable[..., Any]
) -> None:
    pytest.importorskip("torch")
    published = dataset.publish(make_rows(48))
    columns = re.search(r"`train\.(select_columns\(.+?\))`", card_of(published))
    assert columns is not None
    rows = {"rows": load(str(published.path), split="train")}
    assert eval(f"rows.{columns[1]}", rows).with_format("torch")[0]["messages"][1]["role"] == "user"  # the card's own words


def test_the_two_lines_of_python_work_as_they_stand(
    dataset: Any, make_rows: Rows, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    published = dataset.publish(make_rows(48))
    code = re.search(r"```python\n(.+?\n.+?)\n```", card_of(published))
    assert code is not None
    monkeypatch.chdir(dataset.folder.parents[2])
    names: dict[str, Any] = {}
    exec(code[1], names)  # noqa: S102  (the card's own lines)
    assert names["train"].num_rows == published.splits["train"]


def test_simulated_data_says_so_before_anything_else(dataset: Any, make_rows: Rows) -> None:
    lineage = Lineage(
        run_id="r", spec_sha256="5", spec_text="", provider="simulator", model="claude-sonnet-5-5", package_version="0.1.0"
    )
    published = dataset.publish(make_rows(24, provider="simulator"), lineage=lineage)
    simulated = card_of(published)
    for name in ("README.md", "report.html", "croissant.json"):  # no model is said to have written it
        text = (published.path / name).read_text()
        assert "made up by a local simulator in the place of" in text and "written by" not in text, name
    assert simulated.split("\n\n")[2].startswith("> # ⚠ SIMULATED DATA")
    assert "- simulated\n" in simulated and "pretty_name: Advice (simulated)\n" in simulated
    assert "SIMULATED" not in card_of(dataset.publish(make_rows(24)))


def test_coverage_shows_values_without_a_row(dataset: Any, make_rows: Rows) -> None:
    lineage = Lineage(
        run_id="r",
        spec_sha256="5",
        spec_text="",
        provider="anthropic",
        model="claude-sonnet-5-5",
        package_version="0.1.0",
        axes={"emotion": ("Calm", "Fear | Joy")},
    )
    card = card_of(dataset.publish(make_rows(24), lineage=lineage))
    assert "| Calm | 24 | 100.0% | 2.00 |\n| Fear \\| Joy | 0 | 0.0% | 0.00 |" in card
    assert "| Persona 0 | 8 | 33.3% | 1.00 |" in card


def test_a_long_table_shows_both_ends(dataset: Any, make_rows: Rows, make_row: Callable[..., PublishedRow]) -> None:
    card = card_of(dataset.publish([*(make_row(n, topic=f"T{n:03d}") for n in range(100)), *make_rows(9, topic="common")]))
    assert "| common | 9 | 8.3% | 8.34 |" in card
    assert "| … 61 more … |  |  |  |" in card
    assert "| T099 | 1 |" in card


def test_costs_add_up_and_count_what_was_not_accepted(dataset: Any, make_rows: Rows) -> None:
    accepted = make_rows(10, cost_usd=Decimal("0.01"))
    revise = make_rows(5, status=Status.DROPPED, cost_usd=Decimal("0.002"), reasons=("parse error",))
    why = Reason("dropped", "parse_error: no JSON", 5, "A · B · C · template #1", "Set generation.structured to true")
    facts = LedgerFacts(judged_usd=Decimal("0.06"), spent_usd=Decimal("0.20"))
    published = dataset.publish(accepted, revise, reasons=lambda: [why], facts=lambda: facts)
    card = card_of(published)
    lines = {
        "accepted conversations": "$0.10",
        "answers that are not accepted": "$0.01",
        "the judge": "$0.06",
        "calls without an answer, earlier answers": "$0.03",
        "all of it, for each accepted one": "$0.02",
    }
    report = re.sub(r"<[^>]*>|\s*\n\s*", "", (published.path / "report.html").read_text())
    for name, amount in lines.items():
        assert f"| {name} | {amount} |" in card
        assert f"{name}{amount}" in report, "both tell the same"
    assert "1,000 input tokens (without cached ones) and 2,000 output tokens" in card
    assert "5 dropped; with their reasons" in card
    assert "| dropped: parse_error: no JSON | 5 | A · B · C · template #1 | Set generation.structured to true |" in card
    manifest = Manifest.model_validate_json((published.path / "manifest.json").read_text())
    assert (manifest.dropped, manifest.refused, manifest.reasons) == (5, 0, (why,))


def test_scores_and_lengths_are_told(dataset: Any, make_rows: Rows, talk: Callable[..., Conversation]) -> None:
    longest = talk("x" * 4000, "y" * 4000, system=None)
    rows = [*make_rows(20), *make_rows(4, conversation=longest, quality=quality(6, 1, 1, 4)), *make_rows(1, quality=None)]
    card = card_of(dataset.publish(rows))
    assert "| 6 | 4 | ██████ |\n| 8 | 20 | ██████████████████████████████ |\n| none | 1 | ██ |" in card
    assert "Set the trainer's `max_length` to **2,560** tokens" in card
    assert "| n_turns | 2 | 4 | 4 | 4 | 4 |" in card
    assert "2,008 |" in card


def test_lineage_splits_and_terms_are_told(dataset: Any, make_rows: Rows) -> None:
    card = card_of(dataset.publish(make_rows(24)))
    assert "| stale | 2 |" in card
    assert f"| template advice | {'7' * 64} |" in card
    assert "~~~yaml\nname: advice\nseed: 7\n~~~" in card
    assert "no group is in two splits" in card
    assert "Anthropic's terms restrict training models on Claude's outputs" in card


def test_the_notes_on_splits_are_in_the_card(dataset: Any, make_rows: Rows) -> None:
    published = dataset.publish(make_rows(3, persona="A", topic="B"))
    assert "\n- split 'validation' is left out: " in card_of(published)


HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "an image from elsewhere": "![seen](http://evil.example/seen.png) <img src=http://evil.example/x>",
    "a link": "[click](javascript:alert(1)) <http://evil.example> http://evil.example",
    "a cell more": "a | b \\| c",
    "a code span": "`x` ``<b>``",
    "an entity": "&lt;b&gt; &amp;",
    "bold": "**b** ~~s~~",
    "a heading": "x\n\n# y\n\n~~~~\n```",
    "the other direction": "a \u202e b",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_others_wrote_is_shown_as_it_is_and_never_obeyed(dataset: Any, make_rows: Rows, text: str) -> None:
    plain = " ".join(text.split())
    spec = f"name: advice\naxes:\n  persona:\n  - |\n   {text}\n"
    lineage = LINEAGE.model_copy(update={"axes": {"persona": (f"unused {plain}",)}, "spec_text": spec})
    values = {"persona": plain, "emotion": plain, "topic": plain, "tier": plain, "template": "t", "model": plain}
    rejected = make_rows(1, status=Status.DROPPED, reasons=(text,), **values)
    why = Reason("dropped", text, 1, text, text)
    published = dataset.publish(make_rows(6, **values), rejected, lineage=lineage, reasons=lambda: [why])
    page = (
        MarkdownIt("commonmark", {"html": True})
        .enable(["table", "strikethrough"])
        .render(card_of(published).partition("\n---\n")[2])
    )
    page = re.sub('<a href="(report.html|croissant.json)">', "", page)  # the card's own
    assert not re.search("<(script|img|a|b|strong|s|iframe) ?[^>]*>", page.replace("<strong>", "", 1))
    assert re.findall("<h[12]>(.*?)</h", page) == HEADINGS
    cells = [re.findall("<td>(.*?)</td>", line, re.DOTALL) for line in re.findall("<tr>(.*?)</tr>", page, re.DOTALL)]
    shown = printable_line(plain)
    assert sum(html.unescape(cell) == shown for line in cells for cell in line) == 7, (
        "persona, emotion, topic, tier, model, a reason's example and what to do about it"
    )
    assert shown in html.unescape(re.search("conversations written by (.*?)</code>", page)[1])  # type: ignore[index]


HEADINGS = ["advice, version 1", "Splits", "Coverage", "Length", "Score", "Not in here", "Cost", "Lineage"]
