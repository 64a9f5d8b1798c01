"""The command line never ends in a traceback: whatever it is given, and wherever its output goes, it ends in one line and the right code."""

from __future__ import annotations

import json
import logging
import os
import pty
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from support import Project

from convoforge import cli
from convoforge.cli import main
from convoforge.cli.console import name_options
from convoforge.logs import ONE_LINE

ROOT = Path(__file__).resolve().parents[2]
ODD = (
    *(
        "",
        " ",
        "-",
        "--",
        "\x1b[2J",
        "a\nb",
        "\ud800",
        "\udcff",
        "\x00",
        "💥",
        "x" * 5000,
        "../../etc/passwd",
        "/dev/null",
        "/",
        "~",
        "~nobody/x.yaml",
    ),
    *(
        "nan",
        "inf",
        "1e400",
        "9" * 400,
        "-1",
        "0",
        "٣",
        "[/bold]",
        "[red]",
        "*.yaml",
        "/proc/self/mem.yaml",
        "\\",
        "%s",
        "{x}",
        "DEMO",
        "=x",
    ),
)
GENERATE = ("generate", "--emotion", "b", "--topic", "c", "--persona", "a")
PLACES: tuple[tuple[str, ...], ...] = (
    ("plan",),
    ("plan", "demo", "--model"),
    ("show",),
    ("show", "demo", "--limit"),
    ("review",),
    ("review", "demo", "--sample"),
    ("review", "demo", "--import"),
    ("judge",),
    ("judge", "demo", "--limit"),
    ("publish",),
    ("check",),
    ("check", "demo", "--tokenizer"),
    ("export", "--to", "openai"),
    ("export", "demo", "--to"),
    ("status",),
    ("errors",),
    ("costs", "--to"),
    ("costs", "--by"),
    ("build",),
    ("build", "demo", "--limit"),
    ("build", "demo", "--budget"),
    ("build", "demo", "--min-score"),
    ("serve", "--host"),
    ("serve", "--port"),
    ("serve", "--window-seconds"),
    ("serve", "--day-budget"),
    ("token",),
    ("token", "ci", "--scopes"),
    ("simulate", "--port"),
    ("simulate", "--latency-ms"),
    ("simulate", "--fault-rate"),
    ("simulate", "--requests-per-minute"),
    (*GENERATE, "--tier"),
    (*GENERATE, "--template"),
    (*GENERATE, "--param"),
    (*GENERATE, "--temperature"),
)


@pytest.fixture(scope="module")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVOFORGE_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.delenv("ANTHROPIC_API_KEY", raising=False)
        handlers = logging.getLogger().handlers[:]
        yield
        logging.getLogger().handlers[:] = handlers


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that would listen for ever ends as soon as it does."""
    monkeypatch.setattr("convoforge.api.app.make_app", _interrupt)
    monkeypatch.setattr("convoforge.cli.simulate.simulator_process", _interrupt)
    monkeypatch.setattr("convoforge.cli._leave_at_once", sys.exit)  # else it would be the suite that leaves


def _interrupt(*_args: object, **_named: object) -> None:
    raise KeyboardInterrupt


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    done = capsys.readouterr()
    return ended.value.code, done.out, done.err


@pytest.mark.parametrize("place", PLACES, ids=" ".join)
def test_whatever_is_given_ends_in_one_line(
    place: tuple[str, ...], capsys: pytest.CaptureFixture[str], _data: None, nothing_runs: None
) -> None:
    for odd in ODD:
        code, out, err = run(capsys, *place, odd)
        assert code in (0, 1, 2, 130), (odd, err)
        assert "Traceback" not in err, odd
        assert "internal error in convoforge" not in err, odd
        if code:
            assert out == "" or "\x1b" not in out
            (line,) = err.splitlines()
            assert line.startswith("convoforge: ")
            assert line.isprintable()
            assert len(line) < 1_400


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"convoforge {version('convoforge')}\n", "")


def test_an_option_has_the_name_of_where_it_is_read() -> None:
    said = "asked once more with the option `retry_refused`; as far as the option `limit` goes"
    assert name_options(said) == "asked once more with --retry-refused; as far as --limit goes"


def test_one_conversation_is_not_paid_for_where_nobody_can_have_agreed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, _data: None
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    monkeypatch.setattr("convoforge.generation.requests.open_generator", _interrupt)
    monkeypatch.setattr("convoforge.cli._leave_at_once", sys.exit)
    code, _, err = run(capsys, *GENERATE)
    assert (code, "say --yes" in err) == (2, True)
    assert run(capsys, *GENERATE, "--yes")[0] == 130  # it went on


def test_ctrl_c_ends_it_though_a_thread_never_ends() -> None:
    """An interrupted import may hold Python's import lock for good: the thread that imports ahead hung by it, and the exit by the thread."""
    script = """
import threading
import convoforge.cli as cli

def interrupted(arguments):
    threading.Thread(target=threading.Event().wait).start()
    raise KeyboardInterrupt

cli._run = interrupted
cli.main(["build", "demo"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (130, "convoforge: stopped\n")


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["biuld", "--json"], 2, "UsageError"),
        (["plan", "nope", "--json"], 2, "ConfigError"),
        (["show", "nope", "--json"], 2, "ConfigError"),
        (["status", "nope", "--json"], 2, "ConfigError"),
        (["costs", "--from", "yesterday", "--json"], 2, "ConfigError"),
        (["publish", "nope", "--json"], 2, "ConfigError"),
        (["build", "demo", "--json"], 2, "ConfigError"),
        ([*GENERATE, "--template", "nope", "--json"], 2, "ConfigError"),
    ],
)
def test_an_error_is_one_json_object_too(
    arguments: list[str], code: int, kind: str, capsys: pytest.CaptureFixture[str], _data: None
) -> None:
    got, out, err = run(capsys, *arguments)
    assert got == code
    told = json.loads(out.splitlines()[-1])
    assert told["exit_code"] == code
    assert told["error"]["type"] == kind
    assert err == f"convoforge: {told['error']['message']}\n"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`status` has a fault of ours, with an API key in its message; returns where temporary files go."""

    def fail(*_args: object, **_named: object) -> int:
        raise KeyError("sk-very-secret\nsecond line")

    monkeypatch.setattr("convoforge.cli.status.show_database", fail)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-very-secret")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_fault_of_ours_is_one_line_and_its_traceback_is_kept(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "status", "--json")
    assert code == 1
    (kept,) = broken.iterdir()
    assert len(err.splitlines()) == 1
    assert "an internal error in convoforge: KeyError: " in err
    assert f"Its traceback is in {kept};" in err
    assert json.loads(out)["error"]["type"] == "KeyError"
    assert "Traceback (most recent call last)" in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "very-secret" not in kept.read_text() + err + out


def test_the_traceback_is_printed_where_that_is_asked_for(
    broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVOFORGE_DEBUG", "1")
    code, _, err = run(capsys, "status")
    assert code == 1
    assert err.startswith("Traceback (most recent call last)")
    assert list(broken.iterdir()) == []


def test_a_traceback_that_cannot_be_kept(
    broken: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(broken / "not-there"))
    code, _, err = run(capsys, "status")
    assert code == 1
    assert "Set CONVOFORGE_DEBUG=1 to see its traceback" in err


@pytest.mark.parametrize(
    ("variable", "value", "code", "words"),
    [
        ("ANTHROPIC_BASE_URL", "nonsense", 2, "ANTHROPIC_BASE_URL is no address of an API"),
        ("ANTHROPIC_BASE_URL", "https://api.example/?x=1", 2, "ANTHROPIC_BASE_URL holds a ?"),
        ("ANTHROPIC_BASE_URL", "https://api.example:99999", 2, "ANTHROPIC_BASE_URL is no address of an API"),
        ("CONVOFORGE_DATA_DIR", "/dev/null/data", 1, "/dev/null is no folder"),
        ("CONVOFORGE_CONFIG_DIR", "/nope", 2, "there is no folder /nope: set CONVOFORGE_CONFIG_DIR"),
        ("CONVOFORGE_DATABASE_URL", "nonsense", 2, "CONVOFORGE_DATABASE_URL is not a database address"),
        ("CONVOFORGE_DATABASE_URL", "postgresql://h:port/x", 2, "CONVOFORGE_DATABASE_URL is not a database address"),
        ("CONVOFORGE_DATABASE_URL", "mysql://h/x", 2, "CONVOFORGE_DATABASE_URL: 'mysql' is not known here"),
        ("CONVOFORGE_DATABASE_URL", "sqlite:///:memory:", 2, "a ledger in memory would forget what was paid"),
        ("CONVOFORGE_LOG", "xml", 2, "CONVOFORGE_LOG='xml' is no log format"),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(
    variable: str,
    value: str,
    code: int,
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    _data: None,
) -> None:
    def no_server(*_args: object, **_named: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr("convoforge.cli.build.open_server", no_server)
    commands = (
        [["serve", "--simulate", "--port", "0"]]
        if variable == "CONVOFORGE_LOG"
        else [["plan", "demo"], ["build", "demo", "--yes"]]
    )
    for command in commands:
        got, _, err = run(capsys, *command)
        assert got == code, err
        assert words in err


def test_a_question_without_an_answer_sends_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, _data: None
) -> None:
    def at_its_end(*_args: object) -> str:
        raise EOFError

    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-x")
    monkeypatch.setattr("builtins.input", at_its_end)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    code, _, err = run(capsys, "build", "demo")
    assert code == 130
    assert "nothing was sent" in err


def test_what_flows_log_is_one_line() -> None:
    import convoforge.flows  # noqa: F401

    for name in ("prefect.flow_runs", "prefect.task_runs"):
        assert ONE_LINE in logging.getLogger(name).filters


# As real processes


def started(project: Project, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **project.environment, **options.pop("environment", {})}
    command = [sys.executable, "-m", "convoforge", *arguments]
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(
        command, env=environment, stderr=subprocess.PIPE, cwd=project.folder, timeout=120, check=False, **options
    )


def test_an_encoding_that_lacks_characters(project: Project) -> None:
    persona = "Zoë · 💥 \u202e"
    spec = project.spec("odd", axes={"persona": [persona], "emotion": ["Fear"], "topic": ["…"], "tier": ["template"]})
    for encoding in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}):
        text = started(project, "plan", str(spec), "--simulate", environment=encoding)
        assert (text.returncode, text.stderr) == (0, b"")
        assert b"?" in text.stdout
        assert text.stdout.isascii()
        as_json = started(project, "plan", str(spec), "--simulate", "--json", environment=encoding)
        assert as_json.returncode == 0
        assert any(persona in note for note in json.loads(as_json.stdout)["notes"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["costs"], ["costs", "--json"], ["--help"]])
def test_a_full_disk_under_standard_output(project: Project, arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = started(project, *arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"convoforge: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("arguments", [["plan", "demo", "--simulate"], ["costs", "--json"], ["status"], ["--help"]])
def test_a_reader_who_has_left(project: Project, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = started(project, *arguments, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.long
def test_closed_streams(project: Project) -> None:
    for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        command = f"exec {sys.executable} -m convoforge costs {closing}"
        done = subprocess.run(["sh", "-c", command], env={**os.environ, **project.environment}, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), closing


def test_a_prefect_home_that_cannot_be_used(project: Project) -> None:
    done = started(project, "build", "demo", "--simulate", environment={"PREFECT_HOME": "/dev/null/home"})
    lines = done.stderr.decode().splitlines()
    assert done.returncode in (1, 2)
    assert len(lines) == 1
    assert lines[0].startswith("convoforge: ")
    assert "/dev/null" in lines[0]


@pytest.mark.parametrize(
    "command", [["convoforge", "build", "demo", "--simulate"], ["deployments.local", "up"], ["deployments.local", "down"]]
)
def test_a_prefect_home_that_cannot_be_written(project: Project, command: list[str]) -> None:
    home = project.folder / "read-only"
    (home / "convoforge-server.lock").mkdir(parents=True)  # root may write where nobody may, but opens no folder
    home.chmod(0o555)
    environment = {**os.environ, **project.environment, "PREFECT_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode in (1, 2)
    assert f"Prefect's folder {home} cannot be used" in line
    assert "set PREFECT_HOME to another one" in line


@pytest.mark.long
def test_prefect_does_not_talk_about_what_it_collects(project: Project, prefect_server: str) -> None:
    terminal, other_end = pty.openpty()
    home = project.folder / "new-home"
    environment = {**os.environ, **project.environment, "PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(home)}
    del environment["DO_NOT_TRACK"]
    command = [sys.executable, "-m", "convoforge", *GENERATE, "--simulate"]
    with subprocess.Popen(
        command, env=environment, cwd=project.folder, stdin=other_end, stdout=other_end, stderr=other_end
    ) as process:
        os.close(other_end)
        printed = b""
        with suppress(OSError):  # the other end is closed
            while part := os.read(terminal, 65_536):
                printed += part
    os.close(terminal)
    assert process.returncode == 0, printed
    assert b"simulated, nothing paid" in printed
    assert b"usage data" not in printed


@pytest.mark.server
def test_installed_without_a_project_it_says_what_to_do(tmp_path: Path) -> None:
    """As from a wheel: the packages alone, outside the repository."""
    package = Path(cli.__file__).parent.parent
    shutil.copytree(package, tmp_path / "site" / "convoforge", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "elsewhere").mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{os.environ['PYTHONPATH']}"}
    del environment["CONVOFORGE_DATA_DIR"]

    def installed(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "convoforge", *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False)

    done = installed("plan", "demo", "--simulate")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "no project here" in done.stderr
    assert installed("costs").returncode == 2
    assert list(tmp_path.rglob("*.db")) == []
    (tmp_path / "elsewhere" / "convoforge.toml").touch()
    assert json.loads(installed("costs", "--json").stdout)["ledger"] == str(tmp_path / "elsewhere" / "data" / "ledger.db")
