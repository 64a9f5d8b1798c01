"""`convoforge serve` and `convoforge simulate`, as real processes."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

WANTED = {"templateId": "advice", "persona": "Anxious Investor", "emotion": "Fear", "topic": "market volatility"}
GENERATE = "/api/conversations/generate"


@contextmanager
def started(project: Any, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command that goes on, and the address in its first line; killed if it still runs at the end."""
    process = project.start(*arguments, **environment)
    try:
        line = process.stdout.readline()
        found = re.search(r"http://[\d.]+:\d+", line)
        assert found, line + (process.stderr.read() if process.poll() is not None else "")
        yield process, found.group()
    finally:
        process.kill()
        process.communicate()


def serving(project: Any, simulator_url: str) -> AbstractContextManager[tuple[subprocess.Popen[str], str]]:
    return started(project, "serve", "--simulate", "--port", "0", ANTHROPIC_BASE_URL=simulator_url)


def post(url: str, **changes: Any) -> httpx.Response:
    return httpx.post(f"{url}{GENERATE}", json={**WANTED, **changes}, timeout=60, trust_env=False)


def test_serve_brings_its_own_simulator_and_shows_no_key(project: Any) -> None:
    key = "sk-ant-do-not-show-me"
    with started(project, "serve", "--simulate", "--port", "0", ANTHROPIC_API_KEY=key) as (process, url):
        responses = [post(url), post(url, templateId="nothing"), httpx.get(f"{url}{GENERATE}", trust_env=False)]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [response.status_code for response in responses] == [201, 400, 200]
    told = out + err + "".join(response.text + str(response.headers) for response in responses)
    for secret in (key, "do-not-show-me", "sk-simulated"):
        assert secret not in told
    assert "Traceback" not in told


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_commands_of_the_readme_work(project: Any, simulator_url: str) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    commands = re.findall(r"^(curl (?:[^\n]*\\\n)*[^\n]*)", readme, re.MULTILINE)
    assert len(commands) >= 4
    with serving(project, simulator_url) as (_, url):
        for command in commands:
            line = command.replace("http://127.0.0.1:8000", url).replace("curl", "curl --silent --fail", 1)
            done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            assert isinstance(json.loads(done.stdout), dict)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_lets_the_call_in_flight_finish_and_answers_it(project: Any, number: signal.Signals) -> None:
    answers: list[httpx.Response] = []
    with simulator_process(latency_ms=1500) as simulator_url, serving(project, simulator_url) as (process, url):
        caller = threading.Thread(target=lambda: answers.append(post(url)))
        caller.start()
        while not SimulatorControl(simulator_url).rows():
            assert caller.is_alive()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        caller.join()
    assert process.returncode == 0, err
    assert answers[0].status_code == 201
    costs = project.run("costs", "--simulated", "--json").last
    assert (costs["attempts"], costs["succeeded"], costs["maybe_billed"]) == (1, 1, 0)
    assert float(costs["total_cost_usd"]) == answers[0].json()["metadata"]["costUsd"]


def test_a_second_stop_ends_it_at_once_and_the_call_may_have_been_billed(project: Any) -> None:
    def call() -> None:
        with suppress(httpx.HTTPError):
            post(url)

    with simulator_process(latency_ms=20_000) as simulator_url, serving(project, simulator_url) as (process, url):
        caller = threading.Thread(target=call)
        caller.start()
        while not SimulatorControl(simulator_url).rows():
            assert caller.is_alive()
        process.send_signal(signal.SIGINT)
        with pytest.raises(httpx.HTTPError):
            while True:  # until it listens no more
                httpx.get(f"{url}/healthz", trust_env=False)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
        caller.join()
    assert process.returncode == 130, err
    costs = project.run("costs", "--simulated", "--json").last
    assert (costs["attempts"], costs["maybe_billed"]) == (1, 1)


def test_the_rate_and_the_queue_are_options(project: Any) -> None:
    options = ("--max-requests", "2", "--window-seconds", "30", "--no-queue")
    with started(project, "serve", "--simulate", "--port", "0", *options) as (_, url):
        assert post(url).status_code == 201
        refused = post(url)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 31


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--simulate", "--port", "70000"], 2, "--port"),
        (["--simulate", "--host", "203.0.113.7"], 2, "cannot listen on 203.0.113.7"),
        (["--simulate", "--model", "claude-nothing"], 2, "claude-nothing"),
        (["--simulate", "--window-seconds", "0"], 2, "--window-seconds: must be more than 0"),
        (["--simulate", "--day-budget", "0"], 2, "--day-budget: must be more than 0"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(project: Any, arguments: list[str], code: int, words: str) -> None:
    done = project.run("serve", *arguments)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_without_a_key_the_viewer_is_served_and_says_so(project: Any) -> None:
    with started(project, "serve", "--port", "0") as (process, url):
        health, ready = (httpx.get(f"{url}{path}", trust_env=False) for path in ("/healthz", "/readyz"))
        refused = post(url)
        page = httpx.get(url, headers={"accept": "text/html"}, trust_env=False)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert health.json()["status"] == ready.json()["status"] == "viewing" and "ANTHROPIC_API_KEY" in health.json()["reason"]
    assert refused.status_code == 503 and "no API key" in refused.json()["error"]["message"]
    assert page.status_code == 200 and "Datasets" in page.text


def test_an_address_that_others_reach_needs_a_token(project: Any) -> None:
    done = project.run("serve", "--simulate", "--host", "0.0.0.0", "--port", "0")
    assert (done.code, done.out) == (2, "")
    assert "CONVOFORGE_API_TOKEN" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_token_file_lets_who_has_a_token_in(project: Any) -> None:
    file = project.folder / "tokens"
    file.write_text("a-token-of-a-product\n")
    with started(project, "serve", "--simulate", "--host", "0.0.0.0", "--port", "0", "--token-file", str(file)) as (process, url):
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert post(url).status_code == 401
        good = {"authorization": "Bearer a-token-of-a-product"}
        assert httpx.get(f"{url}{GENERATE}", headers=good, trust_env=False).status_code == 200
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "a-token-of-a-product" not in out + err
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z INFO uvicorn", err)  # a time and a level on each line


def test_a_half_sent_request_does_not_keep_it_from_ending(project: Any) -> None:
    with started(project, "serve", "--simulate", "--port", "0") as (process, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
            connection.sendall(head.encode())
            assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_taken_port_is_said_in_one_line(project: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = project.run("serve", "--simulate", "--port", str(taken.getsockname()[1]))
    assert done.code == 2
    assert "already in use" in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_help_says_what_needs_a_token_and_imports_nothing_heavy(project: Any) -> None:
    done = project.run("serve", "--help", PYTHONPROFILEIMPORTTIME="1")
    assert "Without a token it listens on loopback only" in " ".join(done.out.split())
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert not imported & {"anthropic", "fastapi", "uvicorn", "sqlalchemy", "prefect", "pydantic"}


def test_simulate_prints_how_to_use_it_and_ends_when_told_to(project: Any) -> None:
    arguments = ("simulate", "--latency-ms", "5", "--fault-rate", "402=1")
    with started(project, *arguments) as (process, url):
        lines = [process.stdout.readline().strip() for _ in range(4)]
        assert f"export ANTHROPIC_BASE_URL={url}" in lines
        assert any(line.startswith("export ANTHROPIC_API_KEY=") for line in lines)
        done = project.run(
            "generate", "--simulate", "--persona", "A", "--emotion", "Calm", "--topic", "x", ANTHROPIC_BASE_URL=url
        )
        assert done.code == 1
        assert "402" in done.out
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (0, "")
    with pytest.raises(OSError):
        SimulatorControl(url).usage()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--fault-rate", "999=0.1"], "999"), (["--fault-rate", "529"], "529"), (["--latency-ms", "-1"], "--latency-ms")],
)
def test_a_simulator_that_cannot_be_says_why(project: Any, arguments: list[str], words: str) -> None:
    done = project.run("simulate", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
