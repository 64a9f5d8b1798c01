"""`convoforge serve` under load, as a real process in front of the simulator: nobody is lost, nothing is paid twice, memory stays flat."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import psutil
import pytest

from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

REQUESTS = int(os.environ.get("CONVOFORGE_LOAD", "3000"))
"""Number of requests over which memory is watched."""

GENERATE = "/api/conversations/generate"
WANTED = {"templateId": "advice", "persona": "Anxious Investor", "emotion": "Fear", "topic": "market volatility"}


@contextmanager
def serving(project: Any, simulator: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = project.start(
        "serve", "--simulate", "--port", "0", "--max-requests", "10000000", *arguments, ANTHROPIC_BASE_URL=simulator
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://[\d.]+:\d+", line)
        assert found, line
        threading.Thread(target=process.stderr.read, daemon=True).start()  # its log: a full pipe would stop it
        yield process, found.group()
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def callers(url: str, number: int) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        url, connector=aiohttp.TCPConnector(limit=number), timeout=aiohttp.ClientTimeout(total=500)
    ) as session:
        yield session


async def ask(session: aiohttp.ClientSession, number: int) -> tuple[int, str]:
    """One request with a key of its own: its status (0 if the connection broke) and its conversation's id."""
    try:
        async with session.post(GENERATE, json=WANTED, headers={"idempotency-key": f"order-{number}"}) as response:
            body = await response.json()
            return response.status, body["data"]["conversationId"] if response.status == 201 else ""
    except aiohttp.ClientError:
        return 0, ""


def costs(project: Any) -> Any:
    return project.run("costs", "--simulated", "--json").last


def test_a_thousand_concurrent_requests_are_all_answered_and_paid_once(project: Any) -> None:
    async def story(url: str) -> list[tuple[int, str]]:
        async with callers(url, 1_000) as session:
            return await asyncio.gather(*(ask(session, number) for number in range(1_000)))

    with simulator_process(latency_ms=3_000) as simulator, serving(project, simulator) as (_, url):
        answers = asyncio.run(story(url))
        calls = len(SimulatorControl(simulator).rows())
    assert Counter(status for status, _ in answers) == {201: 1_000}
    assert len({conversation for _, conversation in answers}) == 1_000
    found = costs(project)
    assert (calls, found["attempts"], found["succeeded"], found["maybe_billed"]) == (1_000, 1_000, 1_000, 0)


def test_a_stop_finishes_all_that_is_in_flight(project: Any) -> None:
    async def story(url: str, process: subprocess.Popen[str], control: SimulatorControl) -> list[tuple[int, str]]:
        async with callers(url, 200) as session:
            asked = [asyncio.create_task(ask(session, number)) for number in range(200)]
            while len(await asyncio.to_thread(control.rows)) < 200:
                await asyncio.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*asked)

    with simulator_process(latency_ms=8_000) as simulator, serving(project, simulator) as (process, url):
        answers = asyncio.run(story(url, process, SimulatorControl(simulator)))
        assert process.wait(60) == 0
    assert Counter(status for status, _ in answers) == {201: 200}
    assert (costs(project)["succeeded"], costs(project)["maybe_billed"]) == (200, 0)


def test_a_kill_loses_nothing_that_was_paid_and_answered(project: Any) -> None:
    """What was recorded before the kill is not paid again when its caller comes back with its key; what was in flight may be."""

    async def first(url: str, process: subprocess.Popen[str]) -> list[tuple[int, str]]:
        async with callers(url, 50) as session:
            gate = asyncio.Semaphore(50)
            answered = 0

            async def one(number: int) -> tuple[int, str]:
                nonlocal answered
                async with gate:
                    result = await ask(session, number)
                    answered += result[0] == 201
                    if answered == 150:
                        os.kill(process.pid, signal.SIGKILL)
                    return result

            return await asyncio.gather(*(one(number) for number in range(300)))

    async def again(url: str) -> list[tuple[int, str]]:
        async with callers(url, 50) as session:
            return await asyncio.gather(*(ask(session, number) for number in range(300)))

    with simulator_process(latency_ms=300) as simulator:
        with serving(project, simulator) as (process, url):
            before = asyncio.run(first(url, process))
            process.wait(30)
        recorded = costs(project)["succeeded"]
        assert 150 <= sum(status == 201 for status, _ in before) <= recorded < 300
        with serving(project, simulator) as (_, url):
            after = asyncio.run(again(url))
        calls = len(SimulatorControl(simulator).rows())
    assert Counter(status for status, _ in after) == {201: 300}
    assert all(later == earlier for (status, earlier), (_, later) in zip(before, after, strict=True) if status == 201)
    found = costs(project)
    assert found["succeeded"] == 300
    assert found["attempts"] == calls == 300 + found["maybe_billed"]


@pytest.mark.timeout(max(600, REQUESTS // 10))
def test_memory_is_flat_over_many_requests(project: Any) -> None:
    requests, most = REQUESTS, 40

    async def story(url: str, measure: Callable[[], float]) -> list[float]:
        seen: list[float] = []
        async with callers(url, most) as session:
            left = iter(range(requests))

            async def one_after_the_other() -> None:
                for number in left:
                    status, _ = await ask(session, number)
                    assert status == 201
                    if number % (requests // 10) == 0:
                        seen.append(measure())

            await asyncio.gather(*(one_after_the_other() for _ in range(most)))
        return seen

    with simulator_process(latency_ms=1) as simulator, serving(project, simulator) as (process, url):
        size = psutil.Process(process.pid)
        seen = asyncio.run(story(url, lambda: size.memory_info().rss / 1e6))
    print(f"{requests} requests, megabytes: {[round(one) for one in seen]}")
    assert seen[-1] - seen[3] < 25, seen
