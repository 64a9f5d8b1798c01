"""From a build over reviews to the next build: what was rejected is asked for again, in its cell alone, and what was edited is published."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from review.conftest import NOW, TURNS, Reviewed
from support import Project

from convoforge.dataset.status import read_status
from convoforge.review.deciding import decide, undo
from convoforge.simulator.client import SimulatorControl


def test_what_was_rejected_is_asked_for_again_in_its_cell_alone(reviewed: Reviewed) -> None:
    def missing() -> list[tuple[str, int]]:
        return [*read_status(reviewed.ledger, reviewed.plan, reviewed.dataset).to_request]

    cells, names = [cell.key for cell in reviewed.plan.cells], reviewed.names
    short = {(cells[place], 1) for place in (0, 2, 4)}
    assert {*missing()} == short
    decide(reviewed.ledger, names[1], "reject", "Ada", now=NOW)
    decide(reviewed.ledger, names[3], "revise", "Ada", now=NOW)
    assert {*missing()} == short | {(cells[1], 1), (cells[3], 1)}
    undo(reviewed.ledger, names[3], "Ada", now=NOW)
    decide(reviewed.ledger, names[0], "edit", "Ada", now=NOW, turns=TURNS)
    decide(reviewed.ledger, names[2], "accept", "Ada", now=NOW)
    assert {*missing()} == {(cells[1], 1), (cells[4], 1)}


@pytest.mark.long
@pytest.mark.server
def test_a_build_a_review_and_a_build_again(project: Project, simulator: SimulatorControl) -> None:
    def run(*arguments: str) -> Any:
        done = project.run(*arguments, "--json", timeout=280, ANTHROPIC_BASE_URL=simulator.url)
        assert done.code == 0, done.out + done.err
        return done.last

    def rows(version: Any) -> pl.DataFrame:
        return pl.read_parquet(f"{version['path']}/data/*.parquet")

    project.spec("reread")
    first = run("build", "reread", "--simulate", "--yes")
    path = project.folder / "a.jsonl"
    run("review", "reread", "--export", str(path), "--sample", "all")
    published = rows(first)
    found = [one for line in path.read_text().splitlines() if (one := json.loads(line))["status"] == "accepted"]
    rejected, edited = found[0], found[1]
    turns = [{**edited["messages"][0], "content": "How safe is a bond?"}, *edited["messages"][1:]]
    rejected["reviews"] = [{"decision": "reject", "note": "wrong sum"}]
    edited["reviews"] = [{"decision": "edit", "messages": turns}]
    path.write_text(f"{json.dumps(rejected)}\n{json.dumps(edited)}\n")
    assert run("review", "reread", "--import", str(path), "--reviewer", "Ada")["imported"] == 2

    second = run("build", "reread", "--simulate", "--yes")
    assert (second["version"], second["accepted"], first["accepted"], second["generated"] > 0) == (2, 8, 8, True)
    now = rows(second)
    cell = pl.col("persona") + pl.col("emotion") + pl.col("topic")
    assert (
        now.select(cell.alias("cell")).to_series().sort().to_list()
        == published.select(cell.alias("cell")).to_series().sort().to_list()
    )
    gone, new = (
        {*published["conversation_id"]} - {*now["conversation_id"]},
        {*now["conversation_id"]} - {*published["conversation_id"]},
    )
    assert (gone, len(new)) == ({rejected["conversation_id"]}, 1)
    refill = now.row(by_predicate=pl.col("conversation_id").is_in([*new]), named=True)
    assert [refill[axis] for axis in ("persona", "emotion", "topic")] == [
        rejected[axis] for axis in ("persona", "emotion", "topic")
    ]
    row = now.row(by_predicate=pl.col("conversation_id") == edited["conversation_id"], named=True)
    assert [one["content"] for one in row["messages"] if one["role"] != "system"] == [one["content"] for one in turns]
    assert "edited" in row["flags"]
