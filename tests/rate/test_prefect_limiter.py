"""What only the shared limiter promises, against a real Prefect server: processes share, operators decide, nothing opens by accident."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.errors import ConfigError, LimiterClosed, RateLimitError
from convoforge.orchestration.rate_limiter import CALLS_AT_ONCE, CALLS_PER_SECOND, REREAD_SECONDS, PrefectRateLimiter
from convoforge.orchestration.shared_limits import SLOTS, bucket_numbers
from convoforge.rate import KINDS, SEND_WITHIN_SECONDS, Kind, Limits, Need
from convoforge.rate.keys import limit_name

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("prefect_server")]

OpenLimiter = Callable[..., PrefectRateLimiter]
ONE = Need()


def name_of(limiter: PrefectRateLimiter, kind: int = 0) -> str:
    return limiter._keys[0].buckets[kind].name


async def edit(name: str, **numbers: float | bool) -> None:
    """What an operator does in Prefect's UI."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

    async with get_client() as client:
        await client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate.model_validate(numbers))


class Relay:
    """A wire to the Prefect server that counts calls about limits, but for those a busy server refused, and can be cut."""

    def __init__(self, port: int) -> None:
        self.calls = 0
        self._port = port
        self._wires: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def mend(self, port: int = 0) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def cut(self) -> None:
        assert self._server
        self._server.close()
        for wire in self._wires:
            wire.close()
        await asyncio.sleep(0.05)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._wires |= {writer, there_writer}
        await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self.calls += data.count(b" /api/v2/concurrency_limits/") - data.count(b"HTTP/1.1 503")
                writer.write(data)
        writer.close()


@asynccontextmanager
async def relayed(prefect_server: str) -> AsyncIterator[tuple[Relay, int]]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    relay = Relay(int(prefect_server.rsplit(":", 1)[1].split("/", maxsplit=1)[0]))
    port = await relay.mend()
    with temporary_settings(updates={PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        try:
            yield relay, port
        finally:
            await relay.cut()


async def test_two_gates_share_one_limit_and_use_it_up(prefect_limiter: OpenLimiter) -> None:
    limits, wanted = Limits(40, 2.0, pause_threshold=0.5), 57  # 17 at once, 10 a second: 4 s
    arrivals: list[tuple[float, PrefectRateLimiter]] = []
    async with prefect_limiter(limits) as one, prefect_limiter(limits) as other:

        async def send_on(limiter: PrefectRateLimiter) -> None:
            with suppress(LimiterClosed):
                while True:
                    await limiter.acquire(ONE)
                    arrivals.append((time.monotonic(), limiter))
                    # a busy machine may serve one of them alone for some seconds: none starves for good
                    if len(arrivals) >= wanted and len({by for _, by in arrivals}) == 2:
                        one.close("enough")
                        other.close("enough")

        await asyncio.gather(*(send_on(limiter) for limiter in [one, other] * 5))

    times = [at for at, _ in arrivals]
    assert max(sum(first <= at < first + 2.0 for at in times) for first in times) <= 40
    assert times[-1] - times[0] < 30  # how much of the rate is used is measured by `python -m benchmarks rate`


async def test_the_limits_stand_in_prefect_under_names_a_person_can_read(prefect_limiter: OpenLimiter) -> None:
    from prefect.client.orchestration import get_client

    async with prefect_limiter(Limits(50, 60.0, input_tokens=40_000, output_tokens=8_000)) as limiter, get_client() as client:
        found = {limit.name: limit for limit in await client.read_global_concurrency_limits(limit=200)}
        model = name_of(limiter).split(":")[1]
        requests, tokens_in, tokens_out = (found[f"convoforge:{model}:api.anthropic.com:3f2a9c:{kind}"] for kind in KINDS)
    assert (requests.limit, requests.slot_decay_per_second) == (481, 75)  # 5 at once but for those on their way, 45 a minute
    assert (tokens_in.limit, tokens_in.slot_decay_per_second) == (4_000, 600)
    assert (tokens_out.limit, tokens_out.slot_decay_per_second) == (800, 120)


async def test_a_name_with_anything_in_it_still_works() -> None:
    model = f"~a/b?c#d%e&f<g>ü {uuid4()}"
    name = limit_name("https://user:secret@proxy.example:8443/claude/", "3f2a9c", model, "requests")
    assert name.endswith(":proxy.example-8443-claude:3f2a9c:requests")
    async with PrefectRateLimiter(Limits(), endpoint="a label", model=model, fingerprints=["3f2a9c"]) as limiter:
        await limiter.acquire(ONE)


async def test_an_operator_s_numbers_win_over_the_spec_s_with_one_line_saying_so(
    prefect_limiter: OpenLimiter, caplog: pytest.LogCaptureFixture
) -> None:
    async with prefect_limiter(Limits(30, 60.0)) as limiter:
        await edit(name_of(limiter), limit=300, slot_decay_per_second=5)
    assert not caplog.messages
    async with prefect_limiter(Limits(30, 60.0)) as limiter:
        assert limiter.status().remaining == 3
        assert limiter.status().allowed == 6  # of the operator's numbers, not 30
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        f"{name_of(limiter)}: the numbers set in Prefect win: bursts of 3 requests, 3 a minute (not bursts of 2.88 requests, 27 a minute)."
    )


async def test_an_operator_s_edit_takes_effect_within_five_seconds(prefect_limiter: OpenLimiter) -> None:
    async with prefect_limiter(Limits(1, 3600.0)) as limiter:
        await limiter.acquire(ONE)
        waiting = asyncio.create_task(limiter.acquire(ONE))
        await asyncio.sleep(0.2)
        await edit(name_of(limiter), limit=1000)
        await asyncio.wait_for(waiting, 2 * REREAD_SECONDS)  # it takes 4 s; a machine may be busy


async def test_a_deleted_limit_closes_the_gate_instead_of_opening_it(prefect_limiter: OpenLimiter) -> None:
    from prefect.client.orchestration import get_client

    async with prefect_limiter(Limits(1000)) as limiter, get_client() as client:
        await limiter.acquire(ONE)
        await client.delete_global_concurrency_limit_by_name(name_of(limiter))
        with pytest.raises(LimiterClosed, match="was deleted in Prefect"):
            await limiter.acquire(ONE)
        assert limiter.status().is_paused


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({"active": False}, "is switched off in Prefect"),
        ({"slot_decay_per_second": 0.0}, "has no slot decay"),
        ({"limit": 50}, "has 50 slots in Prefect, and one request takes 100"),
    ],
)
async def test_a_limit_that_cannot_work_closes_the_gate_and_keeps_a_new_one_shut(
    prefect_limiter: OpenLimiter, monkeypatch: pytest.MonkeyPatch, numbers: dict[str, float | bool], reason: str
) -> None:
    monkeypatch.setattr("convoforge.orchestration.rate_limiter.REREAD_SECONDS", 0.1)
    async with prefect_limiter(Limits(1000)) as limiter:
        await limiter.acquire(ONE)
        await edit(name_of(limiter), **numbers)
        await asyncio.sleep(0.2)
        with pytest.raises(LimiterClosed, match=reason):
            await limiter.acquire(ONE)
    with pytest.raises(ConfigError, match=reason):
        async with prefect_limiter(Limits(1000)):
            pass


async def test_a_request_that_an_operator_s_edit_made_too_large_is_refused(
    prefect_limiter: OpenLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoforge.orchestration.rate_limiter.REREAD_SECONDS", 0.1)
    async with prefect_limiter(Limits(1000, 60.0, output_tokens=10_000)) as limiter:
        await limiter.acquire(Need(output_tokens=1000))
        waiting = asyncio.create_task(limiter.acquire(Need(output_tokens=1000)))
        await asyncio.sleep(0.1)
        await edit(name_of(limiter, kind=1), limit=999)
        with pytest.raises(ConfigError, match="1000 output-tokens"):
            await asyncio.wait_for(waiting, 5)


async def test_a_pause_in_one_process_stops_the_others(prefect_limiter: OpenLimiter) -> None:
    async with prefect_limiter(Limits(600, 60.0)) as one, prefect_limiter(Limits(600, 60.0)) as other:
        permit = await one.acquire(ONE)
        await other.acquire(ONE)
        start = time.monotonic()
        one.pause(3.0, permit)
        while one._rests:  # until Prefect has been told
            await asyncio.sleep(0.01)
        await other.acquire(ONE)
        assert 2.9 < time.monotonic() - start
        await one.acquire(ONE)


async def test_tokens_are_shared_too(prefect_limiter: OpenLimiter) -> None:
    limits, need = Limits(1000, 1.0, input_tokens=1000), Need(input_tokens=90)
    async with prefect_limiter(limits) as one, prefect_limiter(limits) as other:
        start = time.monotonic()
        await asyncio.gather(*(limiter.acquire(need) for limiter in [one, other] * 5))
        assert 0.85 < time.monotonic() - start  # 900 tokens: 100 at once, 900 a second


async def test_while_the_server_is_away_requests_wait(
    prefect_limiter: OpenLimiter, prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with relayed(prefect_server) as (relay, port), prefect_limiter(Limits(1000)) as limiter:
        await limiter.acquire(ONE)
        await relay.cut()
        waiting = asyncio.create_task(limiter.acquire(ONE))
        while limiter.waiting != "waiting for the Prefect server":
            await asyncio.sleep(0.05)
        assert not waiting.done()
        await relay.mend(port)
        await asyncio.wait_for(waiting, 5)
    assert [message.split(" (")[0].split(",")[0] for message in caplog.messages] == [
        "The Prefect server does not answer",
        "The Prefect server answers again",
    ]


async def test_with_the_queue_off_nobody_waits_for_a_server_that_is_away(
    prefect_limiter: OpenLimiter, prefect_server: str
) -> None:
    async with relayed(prefect_server) as (relay, _), prefect_limiter(Limits(1000, queue=False)) as limiter:
        await relay.cut()
        with pytest.raises(RateLimitError):
            await asyncio.wait_for(limiter.acquire(ONE), 5)


async def test_a_server_that_is_not_there_is_said_at_once(prefect_limiter: OpenLimiter, prefect_server: str) -> None:
    async with relayed(prefect_server) as (relay, port):
        await relay.cut()
        with pytest.raises(ConfigError, match=rf"Prefect server at http://127.0.0.1:{port}/api"):
            async with prefect_limiter(Limits()):
                pass
        await relay.mend(port)


async def test_a_high_rate_takes_few_calls_and_a_lone_request_one(prefect_limiter: OpenLimiter, prefect_server: str) -> None:
    rate, seconds = 500, 1.5
    async with relayed(prefect_server) as (relay, _), prefect_limiter(Limits(1_000_000)) as limiter:
        relay.calls = 0
        await limiter.acquire(ONE)
        assert relay.calls == 1

        start = time.monotonic()
        sent: list[asyncio.Task[object]] = []
        while (elapsed := time.monotonic() - start) < seconds:
            sent += [asyncio.create_task(limiter.acquire(ONE)) for _ in range(int(rate * elapsed) - len(sent))]
            await asyncio.sleep(0.005)
        await asyncio.gather(*sent)
        took = time.monotonic() - start
        assert took < seconds + 10
        assert relay.calls <= CALLS_AT_ONCE + 2 + CALLS_PER_SECOND * took


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Prefect leaves a socket of the flow run open
async def test_it_works_inside_a_flow_and_its_tasks(prefect_limiter: OpenLimiter) -> None:
    from prefect import flow, task

    @task
    async def call(gate_number: int) -> int:
        return (await limiters[gate_number].acquire(ONE)).key

    limiters: list[PrefectRateLimiter] = []

    @flow
    async def run() -> list[int]:
        async with prefect_limiter(Limits(1000)) as limiter:
            limiters.append(limiter)
            return list(await asyncio.gather(call(0), call(0)))

    assert await run() == [0, 0]
    gc.collect()


@given(total=st.integers(2, 10**7), window=st.floats(1, 3600), threshold=st.floats(0.01, 0.99), kind=st.sampled_from(KINDS))
def test_what_a_bucket_lets_through_in_a_window_is_the_promise(total: int, window: float, threshold: float, kind: Kind) -> None:
    limit, decay = bucket_numbers(Limits(total, window, threshold, input_tokens=total, output_tokens=total), kind)
    assert limit >= SLOTS[kind]
    assert decay > 0
    on_the_way = SEND_WITHIN_SECONDS if kind == "requests" else 0
    promise = pytest.approx(total * SLOTS[kind], abs=2)  # slots are whole
    assert limit + decay * (window + on_the_way) == promise


def test_a_limit_of_one_lets_one_through_in_each_window() -> None:
    limit, decay = bucket_numbers(Limits(1, 49.75), "requests")
    assert (limit, decay) == (100, 2.0)
