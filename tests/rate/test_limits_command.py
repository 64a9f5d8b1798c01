"""`convoforge limits`: the limits of a real server in requests a minute, and a change that an open limiter follows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from rate.conftest import OpenLimiter
from support import Done

from convoforge.errors import ConfigError
from convoforge.orchestration.shared_limits import SharedLimit, minute_numbers, read_rate
from convoforge.rate import Limits, Need

Command = Callable[..., Done]


@pytest.mark.anyio
async def test_limits_are_shown_in_requests_a_minute_and_a_limiter_that_is_open_follows_a_change(
    prefect_limiter: OpenLimiter, prefect_server: str, run_here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoforge.orchestration.rate_limiter.REREAD_SECONDS", 0.1)
    monkeypatch.setattr("convoforge.cli.console.out.width", 160)  # a console takes it from the environment it was made in

    async def run(*arguments: str) -> Done:
        return await asyncio.to_thread(run_here, "limits", *arguments, PREFECT_API_URL=prefect_server)

    async with prefect_limiter(Limits(50, 60, input_tokens=30_000), ["3f2a9c", "b00b1e"]) as limiter:
        model = limiter._keys[0].buckets[0].name.split(":")[1]  # type: ignore[attr-defined]
        shown = await run(model)
        assert shown.code == 0, shown.err
        assert [line.split()[1:4] for line in shown.out.splitlines() if model in line] == [
            ["3f2a9c", "30,000", "input"],
            ["3f2a9c", "50", "requests"],
            ["b00b1e", "30,000", "input"],
            ["b00b1e", "50", "requests"],
        ]
        assert "limit 9.625 × N, at least 100, and slot decay 1.5 × N a second" in shown.out
        several = await run(model, "--set", "80/min")
        assert several.code == 2
        assert "2 limits could be meant" in several.err
        changed = await run("b00b1e", "--set", "80/min", "--json")
        assert changed.code == 0, changed.err
        [limit] = changed.last["limits"]
        assert (limit["model"], limit["kind"], limit["limit"], limit["decay"]) == (model, "requests", 770, 120)
        assert limit["per_minute"] == pytest.approx(80, abs=0.01)
        for _ in range(3):
            limiter.settle(await limiter.acquire(Need(10)), None)
            await asyncio.sleep(0.15)
        assert sorted(key.buckets[0].limit for key in limiter._keys) == [481, 770]  # type: ignore[attr-defined]
        left = [one["per_minute"] for one in (await run(model, "--json")).last["limits"] if one["kind"] == "requests"]
        assert left == [pytest.approx(50, abs=0.1), pytest.approx(80, abs=0.1)]
        tokens = await run("b00b1e", "--set", "60000")
        assert tokens.code == 0
    assert (await run("of-nobody", "--set", "80/min")).err == "convoforge: no limit has 'of-nobody'\n"


@pytest.mark.parametrize(
    ("text", "rate"), [("80/min", 80), ("80", 80), ("2/s", 120), ("1.5 / second", 90), ("6,000/h", 100), ("1_000/minute", 1000)]
)
def test_a_rate_is_read_as_people_write_it(text: str, rate: int) -> None:
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "-3/min", "80/year", "80 min", "0", "0.2/min", "1/h"])
def test_what_is_no_rate_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError, match="write 80/min|less than one a minute"):
        read_rate(text)


@pytest.mark.parametrize("kind", ["requests", "input-tokens"])
@pytest.mark.parametrize("count", [1, 2, 11, 50, 80, 4_000])
def test_the_numbers_of_a_rate_let_as_much_pass_in_a_minute_and_the_formula_that_is_told_holds(count: int, kind: str) -> None:
    slots, decay = minute_numbers(count, kind)  # type: ignore[arg-type]
    limit = SharedLimit("", "m", "e", "k", kind, slots, decay, 0, active=True)  # type: ignore[arg-type]
    assert limit.per_minute == pytest.approx(count + (count == 1 and kind == "requests"), abs=1)
    if kind == "requests" and count >= 11:
        assert (slots, decay) == (int(9.625 * count), pytest.approx(1.5 * count))
