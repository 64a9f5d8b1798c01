"""One look for all who watch, and events that nobody gets twice."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from dataclasses import dataclass

import pytest

from convoforge.runs.feed import Feed, make_events


@dataclass(frozen=True)
class Thing:
    text: str
    goes_on: bool = True


class Source:
    """Says one text after the other, the last one as the end."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.reads = [*texts], 0

    def read(self, name: str, before: Thing | None) -> Thing:
        self.reads += 1
        text = self.texts.pop(0)
        return Thing(f"{name} {text}", bool(self.texts))


async def collect(feed: Feed[Thing], last: str | None = None) -> list[tuple[str, str]]:
    return [(kind, text) async for kind, _, text in make_events(feed, "x", last, lambda one: one.text)]


def test_many_watchers_cost_one_look_and_see_the_same() -> None:
    source = Source("a", "b", "end")

    async def watch() -> list[list[tuple[str, str]]]:
        feed = Feed(source.read, 0.01)
        return await asyncio.gather(*(collect(feed) for _ in range(200)))

    seen = asyncio.run(watch())
    assert source.reads == 3
    assert seen == 200 * [[("run", "x a"), ("run", "x b"), ("end", "x end")]]


def test_many_watchers_cost_one_rendering_which_waits_for_nobody() -> None:
    made: list[str] = []

    def render(one: Thing) -> str:
        assert threading.current_thread() is not threading.main_thread()
        made.append(one.text)
        return one.text

    async def watch() -> None:
        feed = Feed(Source("a", "b", "end").read, 0.01)

        async def see() -> list[str]:
            return [text async for _, _, text in make_events(feed, "x", None, render)]

        assert await asyncio.gather(*(see() for _ in range(5))) == 5 * [["x a", "x b", "x end"]]
        await feed.close()

    asyncio.run(watch())
    assert made == ["x a", "x b", "x end"]


def test_what_has_not_changed_is_not_sent_and_who_reconnects_goes_on_from_there() -> None:
    async def watch() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        first = Feed(Source("a", "b", "b", "b", "end").read, 0.01)
        async with aclosing(make_events(first, "x", None, lambda one: one.text)) as events:
            before = [await anext(events), await anext(events)]
        again = await collect(Feed(Source("b", "b", "c", "end").read, 0.01), before[-1][1])
        return [(kind, text) for kind, _, text in before], again

    before, again = asyncio.run(watch())
    assert before == [("run", "x a"), ("run", "x b")]
    assert again == [("run", "x c"), ("end", "x end")]


def test_nothing_is_read_while_nobody_watches_and_a_stop_lets_go() -> None:
    source = Source(*"abcdefghijklmnopqrstuvwxyz")

    async def watch() -> int:
        feed = Feed(source.read, 0.01)
        async with aclosing(feed.follow("x")) as seen:
            await anext(seen)
        await asyncio.sleep(0.05)
        before = source.reads
        await asyncio.sleep(0.1)
        assert source.reads == before
        asyncio.get_running_loop().call_later(0.05, feed.stop)
        await asyncio.wait_for(collect(feed), 2)
        await feed.close()
        return before

    assert asyncio.run(watch()) <= 3


def test_what_cannot_be_read_is_its_watchers_to_hear() -> None:
    def read(name: str, before: Thing | None) -> Thing:
        raise LookupError(name)

    with pytest.raises(LookupError):
        asyncio.run(collect(Feed(read, 0.01)))
