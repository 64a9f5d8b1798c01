"""The embedded Prefect server: one for all builds of a folder, started by the first, stopped by the last, however they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest
from support import Project
from watching import free_port, prefect_home, wait_for
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from convoforge.cli.console import errors
from convoforge.cli.local_server import open_server
from convoforge.errors import ConfigError
from convoforge.orchestration import local_server as server
from convoforge.orchestration.local_server import find_server, stop_server, use_server
from convoforge.orchestration.processes import Process
from convoforge.orchestration.server_api import admits
from convoforge.orchestration.server_home import (
    Server,
    auth_path,
    find_access,
    forget_note,
    log_path,
    make_auth,
    make_home,
    read_auth,
    read_idle_seconds,
    write_note,
)

HOLD = """
import sys
from convoforge.orchestration.local_server import use_server
with use_server(idle_seconds=float(sys.argv[1])) as server:
    print(server.url, server.process.pid if server.process else 0, flush=True)
    sys.stdin.readline()
"""


SCHEDULER = """\
04:05:06.789 | WARNING | prefect.server.services - slow
04:05:07.000 | ERROR   | prefect.server.services.scheduler - Unexpected error in: InvalidRequestError("Can't evaluate bulk DML statement")
Traceback (most recent call last):
  File "deployments.py", line 1009, in _insert_scheduled_flow_runs
sqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML
04:05:08.000 | ERROR   | prefect.server - database is locked
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Prefect folder and a usual port of one's own. No server of it is left when the test is over."""
    folder = prefect_home(tmp_path / "prefect")
    monkeypatch.setenv("PREFECT_HOME", str(folder))
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(free_port()))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    yield folder
    left = note(folder)
    stop_server()
    assert left is None, f"{left} was left behind"


def note(home: Path) -> Process | None:
    """The server's process, as it is noted."""
    try:
        return Process(**json.loads((home / "convoforge-server.json").read_text())["process"])
    except (OSError, ValueError):
        return None


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return bool(json.load(response))
    except OSError:
        return False


class User:
    """A process that uses the server until it is told to leave."""

    def __init__(self, *, idle_seconds: float = 0, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(idle_seconds)],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def server(self) -> tuple[str, int]:
        assert self._process.stdout is not None
        url, pid = self._process.stdout.readline().split()
        return url, int(pid)

    def leave(self) -> None:
        self._process.communicate("\n", timeout=30)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def something_else_on(port: int) -> Iterator[None]:
    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", port), Nothing) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield
        other.shutdown()
        thread.join()


def test_two_at_once_share_a_server_and_the_last_one_stops_it(home: Path) -> None:
    usual = int(os.environ["PREFECT_SERVER_API_PORT"])
    with something_else_on(usual):  # which is neither used nor disturbed
        one, other = User(), User()
        try:
            url, pid = one.server()
            assert other.server() == (url, pid)
            started = note(home)
            assert started is not None and started.pid == pid
            assert not url.endswith(f":{usual}/api")
            one.kill()
            assert answers(url)
            other.leave()
        finally:
            one.kill()
            other.kill()
    assert not answers(url)
    assert not started.runs
    assert note(home) is None


@pytest.mark.long
def test_a_server_whose_starter_was_killed_is_used_by_the_next_one_and_stopped(home: Path) -> None:
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")  # loopback is reached past it
    first = User()
    started = wait_for(lambda: note(home), "a note about the server")
    first.kill()
    assert started.runs
    second = User(**proxy)
    try:
        url, pid = second.server()
        assert (url, pid) == (f"http://127.0.0.1:{os.environ['PREFECT_SERVER_API_PORT']}/api", started.pid)
        second.leave()
    finally:
        second.kill()
    assert not started.runs
    assert not answers(url)


@pytest.mark.long
def test_a_server_goes_on_for_the_next_build_however_the_last_one_ended_and_leaves_when_none_came(home: Path) -> None:
    def starting() -> None:
        raise AssertionError("a server was started")

    first = User(idle_seconds=4)
    url, pid = first.server()
    first.kill()
    with use_server(starting, idle_seconds=4) as second:
        assert second.process is not None
        assert (second.url, second.process.pid) == (url, pid)
        watchers = [one for one in psutil.process_iter() if is_watcher(one, home)]
        assert len(watchers) == 1  # the second one found it at work
        time.sleep(5)
        assert answers(url)  # not while somebody uses it
    left = time.monotonic()
    wait_for(lambda: not second.process.runs, "the end of a server that nobody uses", 30)
    assert time.monotonic() - left > 3
    assert note(home) is None
    wait_for(lambda: not watchers[0].is_running() or watchers[0].status() == psutil.STATUS_ZOMBIE, "the watcher's end", 10)


def is_watcher(process: psutil.Process, home: Path) -> bool:
    try:
        return process.cmdline()[-2:] == ["convoforge.orchestration.idle_server", str(home)]
    except psutil.Error:
        return False


def test_a_server_that_waits_for_the_next_build_can_be_stopped_and_does_not_outlive_its_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2)]
    first, second = (Server("http://127.0.0.1:9/api", Process.of(one.pid), 300) for one in waiting)
    write_note(home, first)
    assert stop_server() == "stopped"
    assert waiting[0].wait(5) is not None
    assert note(home) is None
    other = tmp_path / "other"
    other.mkdir()
    write_note(other, second)
    command = [sys.executable, "-m", "convoforge.orchestration.idle_server", str(other)]
    with subprocess.Popen(command) as watcher:
        wait_for(lambda: (other / "convoforge-server.lock").exists(), "a look of the watcher", 20)
        wait_for(lambda: shutil.rmtree(other, ignore_errors=True) or not other.exists(), "an empty moment of the folder", 20)
        assert (waiting[1].wait(20), watcher.wait(20)) == (-signal.SIGTERM, 0)


@pytest.mark.parametrize("seconds", ["soon", "-1", "1e3", "inf"])
def test_how_long_a_server_waits_is_a_number_of_seconds(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_idle_seconds() == 0  # in this suite
    monkeypatch.setenv("CONVOFORGE_SERVER_IDLE_SECONDS", seconds)
    with pytest.raises(ConfigError, match="is no number of seconds: write 300"):
        read_idle_seconds()
    monkeypatch.setenv("CONVOFORGE_SERVER_IDLE_SECONDS", "")
    assert read_idle_seconds() == 300


def test_an_error_in_the_servers_log_is_told_where_a_command_used_it(
    prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setattr(errors, "width", 400)
    log_path(tmp_path).write_text("01:02:03.456 | ERROR   | prefect.server - of yesterday\n")
    with open_server(lambda: None), log_path(tmp_path).open("a") as log:
        log.write(SCHEDULER)
    [told] = capsys.readouterr().err.splitlines()
    assert told == (
        'the Prefect server logged an error: prefect.server.services.scheduler - Unexpected error in: InvalidRequestError("Can\'t evaluate bulk DML statement") '
        f"sqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML (see {log_path(tmp_path)})"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_the_server_starts_leaves_nothing_behind(number: signal.Signals, home: Path, project: Project) -> None:
    project.spec("early")
    process = project.start("build", "early", "--simulate", PREFECT_HOME=str(home))
    started = wait_for(lambda: note(home), "a note about the server")
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "convoforge: stopped"
    assert "Traceback" not in err
    assert not started.runs
    assert note(home) is None


@pytest.mark.long
def test_a_second_ctrl_c_ends_at_once_with_everything_the_build_had_started(home: Path, project: Project) -> None:
    # without a cache nobody waits for the first call, and all are in flight at once
    project.spec("at-once", retry={"timeout_seconds": 120}, generation={"caching": False})
    process = project.start("build", "at-once", "--simulate", PREFECT_HOME=str(home))
    try:
        simulator = wait_for(lambda: simulator_of(process.pid), "a simulator")
        url = f"http://127.0.0.1:{wait_for(lambda: port_of(simulator), 'its port')}"
        script = json.dumps({"faults": ["hang"] * 50}).encode()
        wait_for(lambda: post(f"{url}/_simulator/script", script), "its script")
        wait_for(lambda: "requests" in usage(url) and usage(url)["requests"] >= 8, "calls in flight")
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=1)  # a first one waits for what is paid
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=2)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "stopped at once; calls that were in flight may have been billed" in err
    wait_for(lambda: not simulator.is_running() or simulator.status() == psutil.STATUS_ZOMBIE, "the simulator's end", 5)
    assert note(home) is None


def simulator_of(pid: int) -> psutil.Process | None:
    found = [one for one in psutil.Process(pid).children() if "convoforge.simulator" in one.cmdline()]
    return found[0] if found else None


def port_of(process: psutil.Process) -> int | None:
    listening = [one.laddr.port for one in process.net_connections(kind="tcp") if one.status == psutil.CONN_LISTEN]
    return listening[0] if listening else None


def post(url: str, body: bytes) -> bool:
    urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"}), timeout=5).close()
    return True


def usage(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/_simulator/usage", timeout=5) as response:
        found: dict[str, int] = json.load(response)
        return found


def test_a_server_that_we_start_is_closed_to_others_and_logs_what_it_refuses(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # as `build` sets it, for its own terminal; and what would open the server again
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "CRITICAL")
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "known:to-all")
    monkeypatch.setenv("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "*")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "of-another:server")
    with use_server() as started:
        auth = os.environ["PREFECT_API_AUTH_STRING"]
        assert auth == (home / "convoforge-server.auth").read_text().strip()
        assert [admits(started.url, one) for one in (auth, None, "known:to-all", "of-another:server")] == [True] + [False] * 3
        page = started.url.removesuffix("/api")
        assert preflight(started.url, page) == (200, page)
        assert preflight(started.url, page.replace("127.0.0.1", "localhost"))[0] == 200
        assert preflight(started.url, "http://evil.example") == (400, None)
        with urllib.request.urlopen(f"{page}/ui-settings", timeout=10) as response:
            shown = json.load(response)
        assert (shown["api_url"], shown["auth"]) == (started.url, "BASIC")
        # a web page may open a socket anywhere; without the auth string it hears nothing
        with pytest.raises(WebSocketException), connect(f"{started.url.replace('http', 'ws')}/events/out") as socket:
            socket.recv(timeout=10)
        wait_for(lambda: "WebSocket connection rejected" in log_path(home).read_text(), "a warning in the server's log", 10)
        for path in [*home.glob("convoforge-*"), home / "prefect.db"]:
            assert path.stat().st_mode & 0o077 == 0, path
        # whoever names this server by its address alone is given what it takes; who brings a wrong auth string is told
        monkeypatch.delenv("PREFECT_API_AUTH_STRING")
        with use_server() as named:
            assert named == Server(started.url)
            assert os.environ["PREFECT_API_AUTH_STRING"] == auth
        assert "PREFECT_API_AUTH_STRING" not in os.environ
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "convoforge:wrong")
        with pytest.raises(ConfigError, match="does not take PREFECT_API_AUTH_STRING"), use_server():
            pass
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "of-another:server")


@pytest.mark.long
def test_imports_go_on_while_a_server_comes_up_and_its_address_is_known_to_them(home: Path) -> None:
    def look() -> None:
        url = os.environ["PREFECT_API_URL"]
        seen.append((url, os.environ["PREFECT_API_AUTH_STRING"], answers(url)))

    seen: list[tuple[str, str, bool]] = []
    with use_server(meanwhile=look, idle_seconds=60) as started:
        assert seen == [(started.url, read_auth(home), False)]
    with use_server(meanwhile=look) as warm:
        assert (warm.url, len(seen)) == (started.url, 1)  # nothing to wait for, so nothing beside it
    assert stop_server() == "stopped"


def preflight(url: str, origin: str) -> tuple[int, str | None]:
    """What a browser is told that asks for a page whether it may send a POST, and for which origin it holds."""
    asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    request = urllib.request.Request(f"{url}/deployments/filter", headers=asked, method="OPTIONS")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers["access-control-allow-origin"]
    except HTTPError as error:
        return error.code, error.headers["access-control-allow-origin"]


def test_an_auth_string_is_made_once_and_again_where_others_could_have_read_it(tmp_path: Path) -> None:
    made = make_auth(tmp_path)
    assert made.startswith("convoforge:") and len(made) >= 40
    assert auth_path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert make_auth(tmp_path) == read_auth(tmp_path) == made
    auth_path(tmp_path).chmod(0o644)
    again = make_auth(tmp_path)
    assert again != made
    assert auth_path(tmp_path).stat().st_mode & 0o777 == 0o600
    auth_path(tmp_path).write_text("")
    assert make_auth(tmp_path) not in (made, again, "")


def test_prefects_folder_is_made_for_its_owner_alone_or_said_to_be_unusable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "new" / "prefect"))
    assert make_home().stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "prefect"))
    with pytest.raises(ConfigError, match="cannot be used.*set PREFECT_HOME to another"):
        make_home()


def test_access_is_found_for_the_server_that_runs_and_for_no_other(home: Path) -> None:
    auth, url = make_auth(home), "http://127.0.0.1:4321/api"
    ours = {"PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": auth}
    assert find_access({}) == {}
    try:
        write_note(home, Server(url, Process.of(os.getpid())))
        assert find_access({}) == ours
        assert find_access({"PREFECT_API_URL": f"{url}/"}) == ours
        assert find_access({"PREFECT_API_URL": "http://localhost:4321/api"}) == ours
        assert find_access({"PREFECT_API_URL": "http://127.0.0.1:4200/api"}) == {}
        assert find_access({"PREFECT_API_URL": "https://api.prefect.cloud/api/accounts/a/workspaces/b"}) == {}
        assert find_access({"PREFECT_API_AUTH_STRING": "of-ones:own"}) == {}
        write_note(home, Server(url, Process(os.getpid(), 0.0)))  # somebody else has its pid, and maybe its port, by now
        assert find_access({}) == {}
    finally:
        forget_note(home)


def test_the_server_that_is_named_is_used_and_stays(prefect_server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    with use_server() as found:
        assert found == Server(prefect_server)
    assert answers(prefect_server)
    assert os.environ["PREFECT_API_URL"] == prefect_server


def test_a_named_server_that_does_not_answer_is_wrong_input(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    with pytest.raises(ConfigError, match="no Prefect server answers at PREFECT_API_URL=.*start it, or unset"), use_server():
        pass


def test_a_named_server_that_is_no_prefect_is_said_in_one_line(project: Project, home: Path) -> None:
    project.spec("nowhere")
    port = free_port()
    named = f"http://127.0.0.1:{port}/api"
    with something_else_on(port):
        done = project.run("build", "nowhere", "--simulate", PREFECT_API_URL=named)
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(f"convoforge: Prefect fails (PREFECT_API_URL={named}): ")
    assert "Traceback" not in done.err


def test_a_strangers_server_on_the_usual_port_is_left_alone_and_ones_own_is_used(
    prefect_server: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Started(Exception):
        pass

    def starting() -> None:
        raise Started

    theirs = os.environ["PREFECT_HOME"]
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", prefect_server.rsplit(":", 1)[1].partition("/")[0])
    with pytest.raises(Started), use_server(starting):
        pass
    its_home = find_server(server.usual_port())
    assert its_home is not None
    monkeypatch.setenv("PREFECT_HOME", str(its_home))
    with use_server(starting) as found:
        assert found == Server(prefect_server)
    assert answers(prefect_server)
    monkeypatch.setenv("PREFECT_HOME", theirs)


def test_a_note_whose_pid_is_somebody_elses_by_now_is_not_believed(home: Path) -> None:
    ours = Process.of(os.getpid())
    stranger = Process(ours.pid, ours.began - 100)
    assert ours.runs
    assert not stranger.runs
    assert not stranger.end(0.1)
    write_note(home, Server("http://127.0.0.1:9/api", stranger))
    assert stop_server() == "none"
    forget_note(home)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"http_proxy": "http://127.0.0.1:9"}, "127.0.0.1,localhost"),
        ({"http_proxy": "http://127.0.0.1:9", "NO_PROXY": "intranet, localhost"}, "intranet,localhost,127.0.0.1"),
        ({"http_proxy": "http://127.0.0.1:9", "no_proxy": "*"}, "*"),
        ({"NO_PROXY": "intranet"}, None),
    ],
)
def test_this_machine_is_reached_past_a_proxy(
    before: dict[str, str], after: str | None, clean_proxies: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    server.pass_proxies_by()
    assert os.environ.get("no_proxy") == after


@pytest.fixture
def clean_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.setenv(name, "")  # so that what the test sets is taken back
        monkeypatch.setenv(name.upper(), "")
        monkeypatch.delenv(name)
        monkeypatch.delenv(name.upper())
