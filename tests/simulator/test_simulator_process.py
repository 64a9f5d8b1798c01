"""A simulator is a process of its own, which starts with one line and always ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import anthropic
import psutil
import pytest

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process
from convoforge.simulator.options import parse_fault_rate

Connect = Callable[..., anthropic.Anthropic]

COMMAND = [sys.executable, "-m", "convoforge.simulator"]


def answers(url: str) -> bool:
    try:
        return bool(SimulatorControl(url).usage())
    except OSError:
        return False


def test_it_listens_while_the_context_lasts_and_no_longer() -> None:
    with simulator_process() as url:
        assert answers(url)
    assert not answers(url)


def test_it_ends_when_its_client_fails() -> None:
    with pytest.raises(ZeroDivisionError), simulator_process() as url:
        raise ZeroDivisionError
    assert not answers(url)


def test_it_ends_while_a_call_hangs() -> None:
    with simulator_process() as url:
        SimulatorControl(url).script("hang")
        body = b'{"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}'
        head = "POST /v1/messages HTTP/1.1\r\nHost: x\r\nx-api-key: k\r\nanthropic-version: 2026-10-21\r\n"
        caller = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        caller.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(lambda: SimulatorControl(url).usage()["outcomes"] == {"hang": 1})
        begun = time.monotonic()
    assert time.monotonic() - begun < 4
    caller.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_when_its_parent_is_killed(number: signal.Signals) -> None:
    script = (
        "import sys, time\n"
        "from convoforge.simulator.launch import simulator_process\n"
        "with simulator_process() as url:\n"
        "    print(url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert answers(url)
        parent.send_signal(number)
        parent.wait()
        wait_for(lambda: not answers(url))


def test_a_ctrl_c_in_the_terminal_does_not_reach_it() -> None:
    others = set(psutil.Process().children())
    with simulator_process():
        (child,) = set(psutil.Process().children()) - others
        assert os.getsid(child.pid) == child.pid != os.getsid(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_alone_it_prints_where_it_listens_and_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    with subprocess.Popen([*COMMAND, '{"port": 0, "latency_ms": 1}'], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = json.loads(process.stdout.readline())
        assert answers(line["url"])
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with simulator_process() as url:
        port = int(url.rsplit(":", 1)[1])
        with (
            pytest.raises(ConvoforgeError, match=f"did not start: the simulator cannot listen on 127.0.0.1:{port}"),
            simulator_process(port=port),
        ):
            pass
        done = subprocess.run([*COMMAND, json.dumps({"port": port})], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("error: the simulator cannot listen on")
        assert done.stderr.count("\n") == 1


def test_what_it_cannot_import_is_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConvoforgeError, match="did not start"), simulator_process():
        pass


def test_starting_one_imports_neither_aiohttp_nor_pydantic() -> None:
    script = (
        "import sys, convoforge.simulator.launch, convoforge.simulator.client\n"
        "print({'aiohttp', 'pydantic', 'anthropic'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "set()"


def test_latency_is_waited_for_by_all_at_once(connect: Connect) -> None:
    import asyncio

    async def play(url: str) -> float:
        async with anthropic.AsyncAnthropic(
            base_url=url, api_key="k", max_retries=0, http_client=anthropic.DefaultAioHttpClient()
        ) as client:
            begun = time.monotonic()
            calls = (
                client.messages.create(
                    model="claude-sonnet-5-5", max_tokens=100, messages=[{"role": "user", "content": f"Hi {number}"}]
                )
                for number in range(40)
            )
            await asyncio.gather(*calls)
            return time.monotonic() - begun

    with simulator_process(latency_ms=500) as url:
        assert 0.5 <= asyncio.run(play(url)) < 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"port": 70000}, "port is 70000: give 0 to 65535"),
        ({"latency_ms": -1}, "latency_ms is -1"),
        ({"requests_per_minute": 0}, "requests_per_minute is 0"),
        ({"batch_seconds": -1}, "batch_seconds is -1: give 0 to 86400"),
        ({"batch_seconds": 86401}, "batch_seconds is 86401"),
        ({"fault_rate": {"530": 0.1}}, "unknown fault '530'"),
        ({"fault_rate": {"529": 1.5}}, "from 0 to 1"),
        ({"fault_rate": {"529": 0.7, "500": 0.7}}, "add up to 1.4"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_starts(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said), simulator_process(**options):
        pass


def test_a_fault_rate_that_cannot_be_read_shows_how_to_write_it() -> None:
    assert parse_fault_rate("529=0.05,reset=0.01") == {"529": 0.05, "reset": 0.01}
    with pytest.raises(ConfigError, match="write KIND=SHARE"):
        parse_fault_rate("529")


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
