"""The viewer in front of a small recorded ledger, asked through the application itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from recorded import Dataset

from convoforge.api.app import make_app
from convoforge.ledger import Ledger
from convoforge.planning.spec import DatasetSpec
from convoforge.settings import Settings
from convoforge.viewer.state import open_viewer

SPEC = DatasetSpec.model_validate(
    {
        "name": "sheep",
        "model": "claude-sonnet-5-5",
        "templates": ["advice"],
        "axes": {"persona": ["A shepherd", "A baker"], "emotion": ["calm", "cross"], "topic": ["wool", "bread"]},
        "per_cell": 2,
    }
)


class Pages:
    """A browser without eyes: asks for pages, follows no redirect."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self._runner = runner
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1), raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers={"accept": "text/html"})

    @classmethod
    @contextmanager
    def open(cls, data: Path) -> Iterator[Pages]:
        """A ledger with the dataset `sheep`, answered, and the application on it, which generates nothing."""
        settings = Settings(data_dir=data)
        with Ledger(settings.database_url) as ledger:
            Dataset(ledger, "simulator").build(SPEC)
        app = make_app(settings)
        with asyncio.Runner() as runner:
            opened = open_viewer(settings)
            app.state.viewer = runner.run(opened.__aenter__())
            app.state.ledger = app.state.viewer.ledger
            try:
                yield cls(app, runner, settings)
            finally:
                runner.run(opened.__aexit__(None, None, None))

    def get(self, address: str, **how: Any) -> httpx.Response:
        return self._runner.run(self._client.get(address, **how))

    def post(self, address: str, **how: Any) -> httpx.Response:
        return self._runner.run(self._client.post(address, **how))
