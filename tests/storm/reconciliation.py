"""The ledger and what the server counted, side by side. Only the server is believed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import create_engine, text
from support import Project

from convoforge.simulator.client import SimulatorControl

USAGE = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_5m_tokens": "ephemeral_5m_input_tokens",
    "cache_write_1h_tokens": "ephemeral_1h_input_tokens",
    "thinking_tokens": "thinking_tokens",
}
"""The ledger's columns, and what the API calls them."""


@dataclass(frozen=True)
class Reconciliation:
    """One ledger, and the server that answered everything in it."""

    url: str
    server: SimulatorControl

    def rows(self, query: str) -> list[dict[str, Any]]:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return [dict(row) for row in connection.execute(text(query)).mappings()]
        finally:
            engine.dispose()

    def count(self, table: str, where: str = "true") -> int:
        return int(self.rows(f"SELECT count(*) AS n FROM {table} WHERE {where}")[0]["n"])

    def check(self, *, unheard: int = 0) -> None:
        """Once nothing runs any more. `unheard`: how many paid answers may have been on their way to somebody who was gone."""
        logs = self.rows("SELECT * FROM generation_logs")
        told = {log["api_request_id"]: log for log in logs if log["billing"] == "billed"}
        served = {row["request_id"]: row for row in self.server.rows()}

        # what the ledger says was billed is what the server billed, once each, token for token
        assert len(told) == sum(log["billing"] == "billed" for log in logs)
        for request_id, log in told.items():
            row = served[request_id]
            assert row["billed"] and row["delivered"], row
            assert {ours: log[ours] for ours in USAGE} == {ours: row["usage"][theirs] for ours, theirs in USAGE.items()}
        # what is not in it can only be what nobody heard of
        silent = [row for request_id, row in served.items() if row["billed"] and request_id not in told]
        assert sum(row["delivered"] for row in silent) <= unheard, silent
        # and is shown as what may have been billed; an intent stands for every request that arrived
        maybe = sum(log["billing"] == "maybe" for log in logs)
        assert len(silent) <= maybe
        assert len(served) <= len(logs)

        # nothing is open, twice or held back; every draw without an answer says why
        assert {log["status"] for log in logs} <= {"succeeded", "failed", "lost"}
        assert self.count("owners") == self.count("requests", "state = 'claimed'") == 0
        assert self.count("runs", "state = 'running'") == 0
        [answers] = self.rows("SELECT count(*) AS n, count(DISTINCT request_id) AS ids FROM answers")
        assert answers["n"] == answers["ids"] == sum(log["status"] == "succeeded" for log in logs)
        assert self.count("requests", "state = 'held'") == answers["n"]
        assert self.count("requests", "state IN ('pending', 'failed') AND coalesce(reason, '') = ''") == 0
        assert self.count("answers", "kind <> 'ok' AND coalesce(reason, '') = ''") == 0

        # budgets: nothing is reserved any more, all is spent or maybe spent
        spent = sum(log["cost_pico"] for log in logs)
        for budget in self.rows("SELECT * FROM budgets WHERE scope LIKE 'dataset:%'"):
            assert (budget["reserved_pico"], budget["spent_pico"]) == (0, spent)
            assert (budget["maybe_pico"] > 0) == (maybe > 0)

    def check_costs(self, project: Project, **environment: str) -> dict[str, Any]:
        """`convoforge costs` says the same as the server."""
        costs = project.run("costs", "--json", "--simulated", **environment).last
        logs = self.rows("SELECT * FROM generation_logs")
        heard = {log["api_request_id"] for log in logs if log["billing"] == "billed"}
        rows = [row for row in self.server.rows() if row["request_id"] in heard]
        assert costs["attempts"] == len(logs)
        assert costs["maybe_billed"] == sum(log["billing"] == "maybe" for log in logs)
        for ours in ("input_tokens", "output_tokens"):
            assert costs[ours] == sum(row["usage"][ours] for row in rows)
        found: dict[str, Any] = costs
        return found


def conversations(version: Path) -> dict[str, list[tuple[str, str]]]:
    """conversation id → what was said, of every split of a version, each conversation once; its manifest tells no other number."""
    found: dict[str, list[tuple[str, str]]] = {}
    manifest = json.loads((version / "manifest.json").read_text())
    for file in sorted((version / "data").glob("*.parquet")):
        for row in pl.read_parquet(file, columns=["conversation_id", "messages"]).iter_rows(named=True):
            assert row["conversation_id"] not in found
            found[row["conversation_id"]] = [(turn["role"], turn["content"]) for turn in row["messages"]]
    assert len(found) == manifest["rows"]
    return found


def latest_is_good(dataset: Path) -> bool:
    """Whether there is a version to train on. What is visible is whole, always: each numbered folder, and `latest` if it is there."""
    numbered = sorted((dataset.parents[1] / "versions" / dataset.parent.name / dataset.name).glob("v[0-9]*"))
    for version in numbered:
        conversations(version)
    latest = dataset / "latest"
    if latest.is_symlink():
        assert latest.resolve() in [version.resolve() for version in numbered]
    return latest.is_symlink()
