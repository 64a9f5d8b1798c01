"""Every bad input ends in one clear line and exit code 2 or 1; nothing is sent and nothing that was paid for is lost."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support import Done, Project

from convoforge.ledger import Ledger
from convoforge.ledger.runs import ensure_dataset
from convoforge.simulator.client import SimulatorControl

RunHere = Callable[..., Done]


def one_line(done: Done, code: int, *words: str) -> None:
    assert done.code == code, (done.out, done.err)
    assert "Traceback" not in done.err
    lines = [line for line in done.err.strip().splitlines() if line.strip() and not line.startswith(("Starting", "Connecting"))]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("convoforge: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"per_sell": 1}, ["unknown key 'per_sell'", "did you mean 'per_cell'?"]),
        ({"limits": {"max_request": 5}}, ["limits.max_request", "did you mean 'max_requests'?"]),
        ({"axes": {"persona": [], "emotion": ["a"], "topic": ["b"], "tier": ["template"]}}, ["axes.persona", "empty"]),
        ({"axes": {"persona": ["a", "A"], "emotion": ["a"], "topic": ["b"], "tier": ["template"]}}, ["axes.persona", "same"]),
        ({"templates": ["advise"]}, ["unknown template 'advise'", "did you mean 'advice'?"]),
        ({"parameters": {"complexitty": "low"}}, ["complexitty", "did you mean 'complexity'?"]),
        ({"parameters": {"complexity": "extreme"}}, ["complexity", "low"]),
        ({"per_cell": 0}, ["per_cell", "1"]),
        ({"quality": {"min_score": 11}}, ["quality.min_score", "10"]),
        ({"publish": {"splits": {"train": 0.9, "validation": 0.2}}}, ["splits", "1.1"]),
        ({"name": "../escape"}, ["name", "letters, digits"]),
        ({"limits": {"pause_threshold": 1}}, ["pause_threshold"]),
        ({"limits": {"output_tokens": 100}}, ["limits.output_tokens", "100", "one request"]),
        ({"model": "claude-nonsense-9"}, ["claude-nonsense-9", "prices"]),
        ({"budget": {"run_usd": -1}}, ["budget.run_usd"]),
        ({"budget": {"run_usd": 5, "day_usd": 2}}, ["day_usd 2 is below run_usd 5"]),
        ({"budget": {"run_usd": 5, "dataset_usd": 2}}, ["dataset_usd 2 is below run_usd 5"]),
        ({"budget": {"run_usd": 5, "alert_at": [2]}}, ["budget.alert_at[0]", "1"]),
        ({"prices": {"imput": 2, "output": 10}}, ["prices.imput", "did you mean 'input'?"]),
        ({"prices": {"input": "2$", "output": 10}}, ["prices.input", "2$"]),
        ({"prices": {"input": 2}}, ["prices.output", "missing"]),
        ({"mode": "batches"}, ["mode", "'online' or 'batch'"]),
        ({"mode": "batch", "model": "claude-opus-4-1"}, ["no batch price", "claude-opus-4-1", "batch: 0.5"]),
        ({"mode": "batch", "prices": {"input": 2, "output": 10}}, ["no batch price", "batch: 0.5"]),
        ({"generation": {"cacheing": False}}, ["generation.cacheing", "did you mean 'caching'?"]),
        ({"sample": 99}, ["sample", "99", "8"]),
        ({"axes": {"persona": ["a"], "emotion": ["a"], "topic": ["b"], "tier": ["tempalte"]}}, ["tempalte", "template"]),
    ],
)
def test_a_spec_that_cannot_work(project: Project, run_here: RunHere, changes: dict[str, Any], words: list[str]) -> None:
    project.spec("wrong", **changes)
    one_line(run_here("plan", "wrong", "--simulate"), 2, *words)
    assert not project.data.exists()
    one_line(run_here("build", "wrong", "--simulate"), 2, *words)
    assert not project.data.exists() or [path.name for path in project.data.glob("*[!-walshm]")] == ["ledger.db"]


@pytest.mark.parametrize(
    "text", ["a: [b", "just words", "", "- a\n- b\n", "name: x\nname: y\n", "\x00\x01", "x: !!python/object:os.system {}"]
)
def test_a_spec_that_is_not_yaml_or_no_spec(project: Project, run_here: RunHere, text: str) -> None:
    path = project.folder / "configs" / "datasets" / "broken.yaml"
    path.write_text(text)
    one_line(run_here("plan", "broken"), 2, "broken.yaml")


def test_a_dataset_nobody_knows(run_here: RunHere) -> None:
    one_line(run_here("plan", "dmeo"), 2, "unknown dataset 'dmeo'", "did you mean 'demo'?")
    one_line(run_here("plan", "../../etc/passwd"), 2, "../../etc/passwd")
    one_line(run_here("show", "dmeo"), 2, "dmeo")
    one_line(run_here("publish", "dmeo"), 2, "dmeo")


def test_a_dataset_without_a_finished_start_is_not_taken_for_a_misspelling_of_itself(project: Project, run_here: RunHere) -> None:
    project.data.mkdir()
    with Ledger(f"sqlite:///{project.data / 'ledger.db'}") as ledger:
        ledger.write(ensure_dataset, "demo", "anthropic", datetime.now(UTC))
    for command in ("show", "publish"):
        done = run_here(command, "demo")
        one_line(done, 2, "no build of 'demo' has come far enough")
        assert "did you mean" not in done.err
        one_line(run_here(command, "dmeo"), 2, "did you mean 'demo'?")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("biuld demo", 'Unknown command "biuld". Did you mean "build"?'),
        ("build demo --simulat", "Unknown option: --simulat. Did you mean --simulate?"),
        ("status --limit 3", "Unknown option: --limit: `convoforge status --help` lists what it takes"),
        ("plan demo extra", "unexpected argument 'extra': `convoforge plan --help` lists what it takes"),
        ("build", "SPEC is missing: `convoforge build --help` lists what it takes"),
        ("build demo --limit", "--limit needs a value: `convoforge build --help` lists what it takes"),
        ("generate --persona a", "--emotion is missing: `convoforge generate --help` lists what it takes"),
        ("generate --persona= --emotion b --topic c", "--persona: may not be empty (found '')"),
        ("build demo --limit 0", "--limit: must be at least 1 (found '0')"),
        ("build demo --limit ten", "--limit: expected a whole number (found 'ten')"),
        ("build demo --min-score 11", "--min-score: must be at most 10 (found '11')"),
        ("build demo --budget -3", "--budget: must be more than 0 (found '-3')"),
        ("build demo --budget abc", "--budget: expected a number (found 'abc')"),
        ("build demo --simulate=maybe", "--simulate: expected true or false (found 'maybe')"),
        ("serve --port x", "--port: expected a whole number (found 'x')"),
        ("serve --port 70000", "--port: must be at most 65535 (found '70000')"),
        ("serve --day-budget x", "--day-budget: expected a number (found 'x')"),
        ("serve --max-wait -1", "--max-wait: must be more than 0 (found '-1')"),
        ("serve --pause-threshold 1", "--pause-threshold: must be less than 1 (found '1')"),
        ("costs --from yesterday", "--from"),
        ("costs --by color", 'Invalid value "color" for --by. Choose from: "run"'),
    ],
)
def test_words_the_command_line_does_not_know(run_here: RunHere, arguments: str, message: str) -> None:
    one_line(run_here(*arguments.split()), 2, message)


def test_batches_and_workers_exclude_each_other(project: Project, run_here: RunHere) -> None:
    project.spec("both", mode="batch")
    one_line(run_here("build", "both", "--simulate", "--workers", "2"), 2, "workers", "batches")


def test_no_key_and_no_simulation(run_here: RunHere) -> None:
    one_line(run_here("build", "demo"), 2, "ANTHROPIC_API_KEY", "--simulate")
    one_line(run_here("generate", "--persona", "a", "--emotion", "b", "--topic", "c"), 2, "ANTHROPIC_API_KEY")


def test_a_data_folder_that_cannot_be_written(project: Project, run_here: RunHere) -> None:
    project.data.write_text("a file, where a folder should be")
    one_line(run_here("build", "demo", "--simulate"), 1, str(project.data))


def test_a_place_that_cannot_be_used_is_said_before_a_server_is_started(
    project: Project, run_here: RunHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoforge.orchestration.local_server.start_server", None)
    (project.folder / "file").touch()
    ledger = project.folder / "file" / "ledger.db"
    done = run_here("build", "demo", "--simulate", CONVOFORGE_DATABASE_URL=f"sqlite:///{ledger}")
    one_line(done, 1, str(ledger.parent), "is no folder", "CONVOFORGE_DATABASE_URL")
    done = run_here("build", "demo", "--simulate", PREFECT_SERVER_API_PORT="abc")
    one_line(done, 2, "PREFECT_SERVER_API_PORT=abc is no port", "1 to 65535")


def test_a_database_that_is_not_there(run_here: RunHere) -> None:
    url = "postgresql://somebody:s3cret@127.0.0.1:9/books"
    done = run_here("costs", CONVOFORGE_DATABASE_URL=url)
    one_line(done, 1, "127.0.0.1:9", "Is the server running")
    assert "s3cret" not in done.err
    one_line(run_here("costs", CONVOFORGE_DATABASE_URL="mongodb://x"), 2, "CONVOFORGE_DATABASE_URL")


def test_a_database_from_a_newer_version(project: Project) -> None:
    assert project.run("costs").code == 0
    with sqlite3.connect(project.data / "ledger.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    one_line(project.run("costs"), 1, "newer version of convoforge", "upgrade")


@pytest.fixture
def prefect(project: Project, prefect_server: str) -> None:
    project.environment["PREFECT_API_URL"] = prefect_server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("simulate", [["--yes"], ["--simulate"]])
def test_a_base_url_where_nothing_listens_is_said_before_a_server_is_started(
    run_here: RunHere, monkeypatch: pytest.MonkeyPatch, simulate: list[str]
) -> None:
    def start(*_args: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr("convoforge.cli.build.open_server", start)
    url = f"http://127.0.0.1:{free_port()}"
    done = run_here("build", "demo", *simulate, ANTHROPIC_API_KEY="sk-x", ANTHROPIC_BASE_URL=url)
    one_line(done, 1, f"nothing answers at {url}: Connection refused", "ANTHROPIC_BASE_URL")


@pytest.mark.usefixtures("prefect")
@pytest.mark.long
def test_a_simulator_behind_a_real_key(project: Project, simulator: SimulatorControl) -> None:
    done = project.run("build", "demo", "--yes", ANTHROPIC_API_KEY="sk-x", ANTHROPIC_BASE_URL=simulator.url)
    one_line(done, 1, "a simulator answers at ANTHROPIC_BASE_URL", "--simulate")
    assert simulator.usage()["billed_delivered"]["requests"] == 0


@pytest.mark.usefixtures("prefect")
@pytest.mark.long
def test_a_wrong_key(project: Project, simulator: SimulatorControl) -> None:
    done = project.run("build", "demo", "--yes", ANTHROPIC_API_KEY="sk-sim-wrong-1", ANTHROPIC_BASE_URL=simulator.url)
    one_line(done, 1, "401", "ANTHROPIC_API_KEY")


@pytest.mark.usefixtures("prefect")
@pytest.mark.long
def test_a_model_the_api_does_not_know(project: Project, simulator: SimulatorControl) -> None:
    project.spec("unknown", model="claude-unheard-of-1", prices={"input": 1, "output": 2})
    done = project.run("build", "unknown", "--simulate", ANTHROPIC_BASE_URL=simulator.url)
    one_line(done, 1, "claude-unheard-of-1", "`model`")


def test_a_prefect_server_that_is_not_there(project: Project) -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    one_line(project.run("build", "demo", "--simulate", PREFECT_API_URL=url), 2, url, "PREFECT_API_URL")


@pytest.mark.usefixtures("prefect")
@pytest.mark.long
def test_the_same_refusal_ten_times_stops_the_run_and_keeps_what_was_made(project: Project, simulator: SimulatorControl) -> None:
    project.spec("refused", per_cell=6, limits={"max_requests": 100000, "window_seconds": 60, "concurrency": 1})
    simulator.script("ok", "ok", *["400"] * 40)
    done = project.run("build", "refused", "--simulate", "--json", ANTHROPIC_BASE_URL=simulator.url)
    assert done.code == 1, done.err
    report = done.last
    assert "10 requests in a row were refused" in report["message"]
    assert (report["generated"], report["failed"]) == (2, 10)
    assert Path(report["path"]).is_dir()
