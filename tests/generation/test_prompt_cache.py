"""Who marks a request for the prompt cache, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from convoforge.generation.prompt_cache import AHEAD_SECONDS, KEPT_SECONDS, CacheTurn, PromptCache, worth_seconds
from convoforge.models import Usage
from convoforge.pricing import Price

pytestmark = pytest.mark.anyio

WRITTEN, READ, PLAIN = Usage(10, 5, cache_write_5m_tokens=600), Usage(10, 5, cache_read_tokens=600), Usage(610, 5)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def ask(
    cache: PromptCache,
    answers: Callable[[CacheTurn], Usage | None],
    text: str | None = "rules",
    log: list[CacheTurn] | None = None,
) -> CacheTurn:
    """One request: its turn, and its answer (None: it failed)."""
    async with cache.turn(text) as turn:
        if log is not None:
            log.append(turn)
        await asyncio.sleep(0.01)
        usage = answers(turn)
        if turn.keep and usage is not None:
            cache.note_usage(text, usage)
        return turn


def server(turn: CacheTurn) -> Usage:
    """Keeps what is marked."""
    return READ if turn.kept else WRITTEN if turn.keep else PLAIN


async def test_the_first_of_many_goes_ahead_and_the_others_read_what_it_wrote(clock: Clock) -> None:
    cache, begun = PromptCache(clock), []
    turns = await asyncio.gather(*(ask(cache, server, log=begun) for _ in range(20)))
    assert begun[0] == CacheTurn(keep=True)
    assert set(begun[1:]) == {CacheTurn(keep=True, kept=True)}
    assert len(turns) == 20


async def test_a_request_that_nobody_follows_is_not_marked(clock: Clock) -> None:
    cache = PromptCache(clock)
    assert await ask(cache, server) == CacheTurn()
    clock.now += KEPT_SECONDS + 1
    assert await ask(cache, server) == CacheTurn()


async def test_of_requests_one_after_the_other_the_second_writes_and_the_third_reads(clock: Clock) -> None:
    cache = PromptCache(clock)
    assert [await ask(cache, server) for _ in range(4)] == [
        CacheTurn(),
        CacheTurn(keep=True),
        CacheTurn(True, True),
        CacheTurn(True, True),
    ]


async def test_what_was_not_used_for_five_minutes_is_written_again_by_one(clock: Clock) -> None:
    cache = PromptCache(clock)
    await asyncio.gather(*(ask(cache, server) for _ in range(3)))
    clock.now += KEPT_SECONDS - 1
    assert await ask(cache, server) == CacheTurn(True, True)
    clock.now += KEPT_SECONDS - 1  # it was used meanwhile
    assert await ask(cache, server) == CacheTurn(True, True)
    clock.now += KEPT_SECONDS + 1
    begun: list[CacheTurn] = []
    await asyncio.gather(*(ask(cache, server, log=begun) for _ in range(3)))
    assert begun == [CacheTurn(keep=True), CacheTurn(True, True), CacheTurn(True, True)]


async def test_where_the_first_fails_another_goes_ahead(clock: Clock) -> None:
    cache, begun = PromptCache(clock), []
    answers = iter([None, WRITTEN, READ, READ])
    await asyncio.gather(*(ask(cache, lambda _: next(answers), log=begun) for _ in range(4)))
    assert begun == [CacheTurn(keep=True), CacheTurn(keep=True), CacheTurn(True, True), CacheTurn(True, True)]


async def test_a_text_that_the_api_does_not_keep_is_marked_once(clock: Clock) -> None:
    cache, begun = PromptCache(clock), []
    await asyncio.gather(*(ask(cache, lambda _: PLAIN, log=begun) for _ in range(4)))
    assert begun == [CacheTurn(keep=True), CacheTurn(), CacheTurn(), CacheTurn()]
    assert await ask(cache, lambda _: PLAIN) == CacheTurn()


async def test_one_who_leaves_while_ahead_holds_up_nobody(clock: Clock) -> None:
    cache = PromptCache(clock)
    ahead, *others = [asyncio.create_task(ask(cache, server)) for _ in range(3)]
    await asyncio.sleep(0.005)
    ahead.cancel()
    assert await asyncio.wait_for(asyncio.gather(*others), 5) == [CacheTurn(keep=True), CacheTurn(True, True)]


async def test_one_who_hangs_while_ahead_holds_up_the_others_for_a_while(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convoforge.generation.prompt_cache.AHEAD_SECONDS", 0.05)
    cache = PromptCache(clock)
    hung = asyncio.Event()

    async def hang() -> None:
        async with cache.turn("rules"):
            await hung.wait()

    ahead = asyncio.create_task(hang())
    others = [asyncio.create_task(ask(cache, server)) for _ in range(3)]
    assert await asyncio.wait_for(asyncio.gather(*others), 5) == [CacheTurn(keep=True)] * 3
    assert await ask(cache, server) == CacheTurn(True, True)  # what they wrote can be read
    hung.set()
    await ahead


async def test_other_texts_and_requests_without_one_wait_for_nobody(clock: Clock) -> None:
    cache = PromptCache(clock)
    async with cache.turn("rules"), cache.turn(None) as none, cache.turn("other rules") as other:
        assert (none, other) == (CacheTurn(), CacheTurn())


def test_the_wait_for_the_one_ahead_is_worth_what_it_saves() -> None:
    price = Price.parse("2/10/2.5/4/0.2")
    assert worth_seconds("x" * 1_800, price, 3) == pytest.approx(600 * 2.3 / 1_000)
    assert worth_seconds("x" * 300_000, price, 3) == AHEAD_SECONDS
    assert worth_seconds(None, price, 3) == 0


async def test_who_waits_no_longer_than_that_goes_on_and_is_counted_meanwhile(clock: Clock) -> None:
    cache = PromptCache(clock)
    hung = asyncio.Event()

    async def hang() -> None:
        async with cache.turn("rules"):
            await hung.wait()

    async def follow() -> CacheTurn:
        async with cache.turn("rules", 0.05) as turn:
            return turn

    ahead = asyncio.create_task(hang())
    others = [asyncio.create_task(follow()) for _ in range(3)]
    while cache.waiting < 3:
        await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.gather(*others), 5) == [CacheTurn(keep=True)] * 3
    assert cache.waiting == 0
    hung.set()
    await ahead
