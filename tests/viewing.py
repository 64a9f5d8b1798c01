"""The viewer in front of a small recorded ledger, asked through the application itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI
from recorded import Dataset
from sqlalchemy import Connection, bindparam, update

from convoforge.api.app import make_app
from convoforge.ledger import Ledger
from convoforge.ledger.tables import answers
from convoforge.planning.spec import DatasetSpec
from convoforge.settings import Settings
from convoforge.viewer.state import open_viewer

T = TypeVar("T")
SPEC = DatasetSpec.model_validate(
    {
        "name": "sheep",
        "model": "claude-sonnet-5-5",
        "templates": ["advice"],
        "axes": {"persona": ["A shepherd", "A baker"], "emotion": ["calm", "cross"], "topic": ["wool", "bread"]},
        "per_cell": 2,
    }
)


TURNS = [
    ["user", "How do I wash 100% wool_?"],
    ["assistant", "By hand, <script>document.title='run'</script> and & cold."],
]
"""What the first conversation says; it looks like a page's own script."""


def write_talk(ledger: Ledger) -> None:
    """Give the recorded conversations texts; and of three of them another score, and verdicts of filters."""
    rows = [
        {"b_id": number, "turns": json.dumps([["user", f"Question {number}"], ["assistant", f"Answer {number}"]])}
        for number in range(2, 17)
    ]
    mark = [
        ["turns", 1, 1, 3, None, "2 turns; 8 to 16 are best"],
        ["pii", 1, None, None, "mark", "turn 1 (user): a phone number"],
    ]
    drop = [["control_tokens", 1, None, None, "drop", "turn 2 (assistant): '<|im_end|>' is a control token"]]
    changes = (
        (1, {"turns": json.dumps(TURNS), "results": json.dumps(mark)}),
        (15, {"score": 3}),
        (16, {"rejection": "drop", "results": json.dumps(drop)}),
    )

    def write(connection: Connection) -> None:
        connection.execute(
            update(answers).where(answers.c.request_id == bindparam("b_id")).values(turns=bindparam("turns")), rows
        )
        for number, values in changes:
            connection.execute(update(answers).where(answers.c.request_id == number).values(values))

    ledger.write(write)


class Pages:
    """A browser without eyes: asks for pages, follows no redirect."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self._runner = runner
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1), raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers={"accept": "text/html"})

    @classmethod
    @contextmanager
    def open(cls, data: Path, **changes: Any) -> Iterator[Pages]:
        """A ledger with the dataset `sheep`, answered, and the application on it, which generates nothing. `changes` are other settings."""
        settings = Settings(data_dir=data, **changes)
        with Ledger(settings.database_url) as ledger:
            Dataset(ledger, "simulator").build(SPEC)
            write_talk(ledger)
        app = make_app(settings)
        with asyncio.Runner() as runner:
            opened = open_viewer(settings)
            app.state.viewer = runner.run(opened.__aenter__())
            app.state.ledger = app.state.viewer.ledger
            try:
                yield cls(app, runner, settings)
            finally:
                runner.run(opened.__aexit__(None, None, None))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run what asks for several pages at once."""
        return self._runner.run(work)

    async def ask(self, address: str) -> httpx.Response:
        return await self._client.get(address)

    def get(self, address: str, **how: Any) -> httpx.Response:
        return self._runner.run(self._client.get(address, **how))

    def post(self, address: str, **how: Any) -> httpx.Response:
        return self._runner.run(self._client.post(address, **how))
