"""A Prefect server with a worker and the deployments, as `make up` makes them, on ports and in folders of their own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import Done

from convoforge.orchestration.processes import Process
from convoforge.simulator.client import SimulatorControl

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class House:
    """Server, worker and deployments on ports and in folders of their own."""

    folder: Path
    environment: dict[str, str]
    port: int
    simulator: SimulatorControl

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def local(self, word: str, **environment: str) -> Done:
        return self._run(["-m", "deployments.local", word], environment)

    @property
    def home(self) -> Path:
        return self.folder / "prefect"

    @property
    def auth(self) -> str:
        return (self.home / "convoforge-server.auth").read_text().strip()

    def prefect(self, *arguments: str) -> Done:
        """`prefect …` as a person types it in the project's folder: nothing in the environment says where the server is."""
        return self._run(["-m", "prefect", *arguments], {"PREFECT_PLUGINS_ENABLED": "true"})

    def run(self, *arguments: str) -> Done:
        """`convoforge …` as a person types it beside the house."""
        return self._run(["-m", "convoforge", *arguments], {})

    def ask(self, path: str, listed: list[Any] | None = None, **body: Any) -> Any:
        """What the server says to a POST."""

        code, said = self.send("POST", path, body if listed is None else listed, auth=self.auth)
        assert code < 300, said
        return said

    def send(
        self, method: str, path: str, body: Any = None, *, auth: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """A request as anybody can send it, and the answer to it: asked again while the server's SQLite is busy, as Prefect's client does."""
        while (answer := self._send(method, path, body, auth=auth, headers=headers))[0] == 503:
            time.sleep(0.5)
        return answer

    def _send(self, method: str, path: str, body: Any, *, auth: str | None, headers: dict[str, str] | None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.api}{path}", data, {"content-type": "application/json"}, method=method)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if auth is not None:
            request.add_header("authorization", f"Basic {b64encode(auth.encode()).decode()}")
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                text = response.read()
                return response.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def deployment(self, name: str) -> str:
        """The id of a deployment."""
        [found] = self.ask("/deployments/filter", deployments={"name": {"any_": [name]}})
        return str(found["id"])

    def template(self) -> Any:
        """The base job template of the work pool."""
        code, pool = self.send("GET", "/work_pools/convoforge", auth=self.auth)
        assert code == 200, pool
        return pool["base_job_template"]

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Flow runs that a filter lets through."""
        return list(self.ask("/flow_runs/filter", flow_runs=filters))

    def processes(self) -> list[Process]:
        """Server and worker, as they are noted."""
        notes = [json.loads(path.read_text()) for path in sorted((self.folder / "prefect").glob("convoforge-*.json"))]
        return [Process(**(note.get("process") or note)) for note in notes]

    def ledger(self, query: str) -> list[Any]:
        with sqlite3.connect(self.folder / "data" / "ledger.db") as connection:
            return connection.execute(query).fetchall()

    def _run(self, arguments: list[str], environment: dict[str, str]) -> Done:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)
