"""A dataset over three versions: a persona is added, a topic removed, the template changed; then the topic comes back."""

from __future__ import annotations

import json
import sqlite3
from itertools import combinations
from typing import Any

import polars as pl
import pytest
from support import Project

from convoforge.simulator.client import SimulatorControl

PERSONAS = ["Anxious Investor", "Confident Advisor", "Retired Teacher", "Young Parent", "Night Nurse", "Shop Owner"]
TOPICS = ["market volatility", "retirement planning", "college savings", "debt", "insurance", "taxes", "inheritance", "budgeting"]


@pytest.mark.long
def test_a_dataset_grows_and_what_it_holds_keeps_its_split_its_text_and_its_price(
    building: Project, simulator: SimulatorControl
) -> None:
    template = building.folder / "configs" / "templates" / "advice.yaml"
    seen: dict[str, dict[str, Any]] = {}

    def build(personas: list[str], topics: list[str]) -> tuple[dict[str, dict[str, Any]], dict[str, Any], int]:
        """The rows of the version by id, the report, and the conversations that the server was asked for."""
        axes = {"persona": personas, "emotion": ["Fear", "Calm"], "topic": topics, "tier": ["template"]}
        building.spec("grows", axes=axes, publish={"splits": {"train": 0.8, "validation": 0.2}})
        before = simulator.usage()["requests"]
        done = building.run("build", "grows", "--simulate", "--yes", "--json", ANTHROPIC_BASE_URL=simulator.url)
        report, folder = done.last, building.data / "versions" / "simulated" / "grows"
        files = sorted((folder / f"v{report['version']:04d}" / "data").glob("*.parquet"))
        rows = {
            row["conversation_id"]: {**row, "split": path.name.split("-")[0]}
            for path in files
            for row in pl.read_parquet(path).to_dicts()
        }
        return rows, report, simulator.usage()["requests"] - before

    def check(rows: dict[str, dict[str, Any]], report: dict[str, Any], asked: int, wanted: int) -> None:
        assert all(seen[name] == row for name, row in rows.items() if name in seen), (
            "what is held stays as it is, its split included"
        )
        new = rows.keys() - seen.keys()
        assert report["generated"] == asked
        assert len(new) <= asked <= wanted + report["generated"] - len(new)
        assert report["stale"] == sum(row["template_version"] != label for row in rows.values() for label in [newest(rows)])
        in_splits = {
            split: {row["split_group"] for row in rows.values() if row["split"] == split} for split in ("train", "validation")
        }
        assert not in_splits["train"] & in_splits["validation"]
        seen.update(rows)

    def newest(rows: dict[str, dict[str, Any]]) -> str:
        return str(max(rows.values(), key=lambda row: row["generated_at"])["template_version"])

    first = build(PERSONAS[:5], TOPICS[:7])
    check(*first, wanted=70)
    template.write_text(template.read_text().replace("system: |\n", "system: |\n  Mind the user's time.\n", 1))
    second = build(PERSONAS, TOPICS[1:7])
    check(*second, wanted=12)
    assert {row["topic"] for row in second[0].values()} == set(TOPICS[1:7])
    assert second[1]["stale"] >= 50
    third = build(PERSONAS, TOPICS)
    check(*third, wanted=14)
    back = [name for name, row in third[0].items() if row["topic"] == TOPICS[0] and name in first[0]]
    assert len(back) >= 8, "what was paid for the topic that had gone is there again"
    manifest = json.loads((building.data / "simulated" / "grows" / "latest" / "manifest.json").read_text())
    assert abs(manifest["splits"]["validation"] / manifest["rows"] - 0.2) < 0.05


@pytest.mark.long
def test_prompts_are_told_how_others_begin_where_the_spec_asks_for_it(building: Project, simulator: SimulatorControl) -> None:
    def build(**changes: Any) -> list[dict[str, Any]]:
        axes = {"persona": ["Ann"], "emotion": ["Fear"], "topic": ["debt", "taxes"], "tier": ["template"]}
        building.spec("told", axes=axes, limits={"max_requests": 100_000, "concurrency": 1}, **changes)
        report = building.run("build", "told", "--simulate", "--json", ANTHROPIC_BASE_URL=simulator.url).last
        assert report["stale"] == 0
        with sqlite3.connect(building.data / "ledger.db") as ledger:
            sent = "input_tokens + cache_read_tokens + cache_write_5m_tokens"
            query = (
                f"SELECT drawn, turns, {sent} FROM answers JOIN generation_logs USING (request_id, attempt) ORDER BY generated_at"
            )
            kept = ledger.execute(query).fetchall()
        return [{**json.loads(drawn), "opening": json.loads(turns)[0][1], "sent": sent} for drawn, turns, sent in kept]

    before = build()
    assert not any("avoid" in answer for answer in before)
    after = build(per_cell=3, generation={"avoid_repeats": True})[len(before) :]
    told = after[0]["avoid"]
    assert all(answer["opening"][:100] in told for answer in before)
    assert any(first["opening"][:100] in later["avoid"] for first, later in combinations(after, 2)), "of this run, too"
    assert max(answer["sent"] for answer in after) > max(answer["sent"] for answer in before) + 50
