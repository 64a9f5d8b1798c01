"""What message batches bring, over HTTP and into a real ledger, whatever the API answers. Hours pass without anybody waiting."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from message_batches.made import HOUR, KEY, MINUTE, Open, match, prompt, worst
from sqlalchemy import text

from convoforge.claude import Claude, MessageBatches
from convoforge.generation.batch_results import MISSING_FOR, RESULTS_LIVE, SHORT_FOR
from convoforge.generation.jobs import Job
from convoforge.generation.recent_answers import RecentAnswers
from convoforge.ledger.message_batches import list_open_batches, list_troubled_batches
from convoforge.ledger.requests import claim, read_draws, register_draws
from convoforge.planning.openings import Openings
from convoforge.planning.plan import Cell
from convoforge.rate import fingerprint
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

pytestmark = pytest.mark.anyio


async def test_a_404_for_a_batch_passes_however_old_the_batch_is(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("404", "404", "404", on="batch_retrieve")
        for _ in range(3):
            found = await run.collect(after=HOUR)
            assert (found.going_on, found.failed) == (1, set())
            assert "has not had batch" in found.troubles[0]
        simulator.script("404", "404", on="batch_results")
        for _ in range(2):
            assert (await run.collect(after=HOUR)).going_on == 1
        [batch] = run.ledger.read(list_open_batches)
        assert batch.seen.missing_since is not None
        assert batch.seen.given_up_at == batch.seen.missing_since + MISSING_FOR
        found = await run.collect(after=30 * MINUTE)
        assert (found.going_on, found.tally["generated"], found.troubles) == (0, 12, [])
        assert run.states == {"held": 12}
    assert len(simulator.rows()) == 12  # nothing was asked twice


async def test_a_batch_that_the_api_still_lists_is_not_lost(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(*["404"] * 4, on="batch_retrieve")
        for after in (HOUR, MISSING_FOR, 24 * HOUR, 24 * HOUR):
            assert (await run.collect(after=after)).going_on == 1
        assert run.trouble is not None and "yet it is in the list" in run.trouble
        assert (await run.collect()).tally["generated"] == 12


async def test_while_the_list_cannot_be_read_nothing_is_lost(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("404", "404", "404", on="batch_retrieve")
        simulator.script("500", "404", on="batch_list")
        for after in (HOUR, MISSING_FOR, HOUR):
            assert (await run.collect(after=after)).going_on == 1
        assert (await run.collect()).tally["generated"] == 12


async def test_a_batch_that_the_api_neither_knows_nor_lists_is_given_up_after_hours(
    start_run: Open, simulator: SimulatorControl
) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.reset()
        assert (await run.collect(after=24 * HOUR)).going_on == 1  # it is the first 404
        assert (await run.collect(after=MISSING_FOR - MINUTE)).going_on == 1
        found = await run.collect(after=2 * MINUTE)
        assert (found.going_on, len(found.failed)) == (0, 12)
        assert "asked again, and may have been billed" in found.notes[0]
        assert {(billing, kind) for _, billing, kind, _ in run.failures} == {("maybe", "lost")}
        assert run.states == {"pending": 12}
        assert run.maybe_pico == worst(*range(12))


async def test_a_404_of_another_address_gives_nothing_up(
    start_run: Open, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_run() as run:
        await run.hand_over()
        run.elsewhere(monkeypatch, base_url="https://elsewhere.example")
        simulator.script(*["404"] * 3, on="batch_retrieve")
        run.ledger.write(lambda c: c.execute(text("UPDATE datasets SET provider = 'anthropic'")))
        for after in (HOUR, 24 * HOUR):
            found = await run.collect(after=after)
            assert found.going_on == 1
            assert "set ANTHROPIC_BASE_URL back" in found.troubles[0]


async def test_what_a_simulator_that_is_gone_worked_on_is_asked_again(
    start_run: Open, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.reset()
        run.elsewhere(monkeypatch, base_url="http://127.0.0.1:1")
        assert len((await run.collect()).failed) == 12


@pytest.mark.parametrize(
    ("fault", "billing", "said"),
    [
        ("line_cut", "maybe", "could not be read"),
        ("line_stub", "maybe", "without a result"),
        ("line_event", "maybe", "without a result"),
        ("line_nameless", "maybe", "without a result"),
        ("line_stranger", "maybe", "without a result"),
        ("line_unknown_type", "maybe", "unknown type 'deferred'"),
    ],
)
async def test_a_line_that_cannot_be_read_is_one_request_s_failure(
    start_run: Open, simulator: SimulatorControl, fault: str, billing: str, said: str
) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(fault, match=match(4))
        found = await run.collect()
        assert (found.going_on, found.tally["generated"], len(found.failed)) == (0, 11, 1)
        [(cell, billed, _, words)] = run.failures
        assert (cell, billed) == (4, billing)
        assert said in words
        assert run.states == {"held": 11, "pending": 1}
        assert run.maybe_pico == worst(4)
        assert len(found.notes) == 1 and "1 could not be read" in found.notes[0] or "1 never came" in found.notes[0]
        [over] = run.ledger.read(list_troubled_batches, 5)
        assert over.seen.trouble == found.notes[0]


@pytest.mark.parametrize("fault", ["line_bom", "line_nan", "line_twice"])
async def test_a_line_that_the_sdk_reads_is_read_once(start_run: Open, simulator: SimulatorControl, fault: str) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(fault, match=match(4))
        found = await run.collect()
        assert (found.tally["generated"], found.failed, found.notes) == (12, set(), [])
        assert run.states == {"held": 12}


async def test_half_a_character_in_a_line_is_judged_like_any_answer(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("line_half_character", match=match(4))
        found = await run.collect()
        assert (found.tally["generated"], found.tally["dropped"]) == (12, 1)
        [(kind, reason, raw)] = run.rows("SELECT kind, reason, raw_text FROM answers WHERE kind <> 'ok'")
        assert kind == "invalid" and "half" in reason
        raw.encode()
        assert run.failures == []


async def test_a_web_page_in_the_midst_is_told_and_the_rest_is_written(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("line_html", match=match(4))
        found = await run.collect()
        assert (found.going_on, found.tally["generated"]) == (1, 11)  # its lines are no results: one is missing
        found = await run.collect(after=SHORT_FOR)
        assert (found.going_on, len(found.failed)) == (0, 1)
        assert "<!doctype html>" in found.notes[0]


async def test_a_web_page_for_results_gives_nothing_up(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("html", "html", on="batch_results")
        found = await run.collect(after=24 * HOUR)
        assert (found.going_on, found.failed) == (1, set())
        assert "<!doctype html>" in found.troubles[0]
        assert (await run.collect()).tally["generated"] == 12


async def test_an_ended_batch_with_results_missing_is_closed_an_hour_after_its_end(
    start_run: Open, simulator: SimulatorControl
) -> None:
    async with start_run() as run:
        await run.hand_over()
        for number in (2, 5, 7):
            simulator.script("line_missing", match=match(number))
        found = await run.collect()
        assert (found.going_on, found.tally["generated"], found.failed) == (1, 9, set())
        assert "3 of 12 results" in found.troubles[0]
        [batch] = run.ledger.read(list_open_batches)
        assert batch.seen.api_ended_at is not None
        assert batch.seen.given_up_at == batch.seen.api_ended_at + SHORT_FOR
        assert (await run.collect(after=SHORT_FOR - MINUTE)).going_on == 1
        found = await run.collect(after=2 * MINUTE)
        assert (found.going_on, len(found.failed)) == (0, 3)
        assert [(cell, billing, kind) for cell, billing, kind, _ in run.failures] == [(n, "maybe", "lost") for n in (2, 5, 7)]
        assert run.maybe_pico == worst(2, 5, 7)
        assert run.states == {"held": 9, "pending": 3}


async def test_no_results_at_all_are_seen_twice_before_they_are_given_up(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over(3)
        for number in range(3):
            simulator.script("line_missing", match=match(number))
        assert (await run.collect(after=8 * HOUR)).going_on == 1
        assert (await run.collect(after=SHORT_FOR - MINUTE)).going_on == 1
        assert len((await run.collect(after=2 * MINUTE)).failed) == 3


@pytest.mark.parametrize("fault", ["line_event", "line_stub", "line_nameless"])
async def test_a_line_without_a_name_alone_is_no_result_and_does_not_hold_its_batch_for_ever(
    start_run: Open, simulator: SimulatorControl, fault: str
) -> None:
    async with start_run() as run:
        await run.hand_over(1)
        simulator.script(fault)
        assert (await run.collect()).going_on == 1
        assert (await run.collect(after=SHORT_FOR - MINUTE)).going_on == 1
        assert len((await run.collect(after=2 * MINUTE)).failed) == 1


@pytest.mark.parametrize("fault", ["reset", "broken_json"])
async def test_a_reading_that_breaks_off_is_taken_up_again(start_run: Open, simulator: SimulatorControl, fault: str) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(fault, fault, on="batch_results")
        found = await run.collect()
        assert (found.going_on, found.tally["generated"], found.failed) == (1, 6, set())
        found = await run.collect()
        again = found if not found.going_on else await run.collect()
        assert (again.going_on, again.tally["generated"]) == (0, 6)
        assert run.states == {"held": 12}
        assert run.failures == []


async def test_a_last_line_without_its_end_is_given_up_with_its_reason(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script(*["broken_json"] * 4, on="batch_results")
        assert (await run.collect()).going_on == 1
        found = await run.collect(after=2 * HOUR)
        assert (found.going_on, len(found.failed)) == (0, 6)
        assert "1 could not be read and 5 never came" in found.notes[0]


async def test_an_account_at_its_end_stops_the_run_and_uses_up_no_draw(start_run: Open, simulator: SimulatorControl) -> None:
    empty = {"kind": "400", "message": "You have reached your specified API usage limits. You will regain access on 2026-12-01."}
    async with start_run() as run:
        await run.hand_over()
        simulator.script(*[empty] * 12)
        found = await run.collect()
        assert (found.going_on, len(found.failed)) == (0, 12)
        assert run.control.fatal and run.control.stopped is not None and "regain access" in run.control.stopped
        assert run.states == {"pending": 12}
        assert {billing for _, billing, _, _ in run.failures} == {"none"}
        assert run.maybe_pico == 0


async def test_one_batch_s_trouble_does_not_hold_up_another(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over(3)
        cells = [Cell(f"{n:032x}", "a", "b", "c", "template", "advice") for n in range(100, 103)]
        run.ledger.write(register_draws, run.dataset, [(cell, 0) for cell in cells])
        ids = [draw.request_id for draw in run.ledger.read(read_draws, run.dataset) if draw.state == "pending"]
        jobs = [
            Job(one, prompt(int(one.cell, 16)), run.spec.generation, "advice", "1/x")
            for one in run.ledger.write(claim, run.owner, ids, datetime.now(UTC))
        ]
        await run.batcher.submit(jobs)
        simulator.script("400", on="batch_retrieve")
        found = await run.collect()
        assert (found.going_on, found.tally["generated"]) == (1, 3)
        assert run.control.stopped is None
        assert (await run.collect()).tally["generated"] == 3


async def test_a_batch_is_given_up_when_the_api_keeps_no_results_of_its_age(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script("404", on="batch_retrieve")
        found = await run.collect(after=RESULTS_LIVE)
        assert (found.going_on, len(found.failed)) == (0, 12)


async def test_a_simulator_may_not_know_a_batch_for_a_while(start_run: Open, _own_environment: None) -> None:
    with simulator_process(batch_unknown_seconds=1.5, batch_results_late_seconds=3) as url:
        async with start_run(url) as run:
            await run.hand_over(2)
            troubles = set()
            for _ in range(200):
                found = await run.collect()
                if not found.going_on:
                    break
                troubles |= {("not found" in one, "no available results" in one) for one in found.troubles}
                await asyncio.sleep(0.1)
            assert found.tally["generated"] == 2
            assert troubles == {(True, False), (False, True)}


async def test_deleted_results_are_given_up_at_the_api_s_word(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        await run.hand_over()
        simulator.script({"kind": "ok", "fields": {"archived_at": "2026-11-26T00:00:00Z"}}, on="batch_retrieve")
        simulator.script("404", on="batch_results")
        found = await run.collect()
        assert (found.going_on, len(found.failed)) == (0, 12)
        assert "the API has deleted the results" in found.notes[0]


@pytest.mark.parametrize("times", [1, 3])
async def test_a_batch_that_was_made_behind_a_gateway_s_504_is_not_made_again(
    start_run: Open, simulator: SimulatorControl, times: int
) -> None:
    async with start_run() as run:
        simulator.script(*[{"kind": "html", "status": 504}] * times, on="batch_create")
        handed, failed = await run.hand_over()
        assert (len(handed), failed) == (12, set())
        assert (await run.collect()).tally["generated"] == 12
    assert len(simulator.rows()) == 12


async def test_a_batch_that_a_broken_server_did_not_make_is_made_at_another_attempt(
    start_run: Open, simulator: SimulatorControl
) -> None:
    async with start_run() as run:
        simulator.script("500", "503", on="batch_create")
        await run.hand_over()
        assert (await run.collect()).tally["generated"] == 12
    assert len(simulator.rows()) == 12


async def test_a_batch_that_is_too_large_for_a_server_in_between_is_handed_over_in_parts(
    start_run: Open, simulator: SimulatorControl
) -> None:
    async with start_run() as run:
        simulator.script("413", {"kind": "413", "message": "Request Entity Too Large"}, on="batch_create")
        handed, failed = await run.hand_over()
        assert (len(handed), failed, run.control.stopped) == (12, set(), None)
        found = await run.collect()
        assert (found.going_on, found.tally["generated"], run.states) == (0, 12, {"held": 12})
    rows = simulator.rows()
    assert len(rows) == 12
    assert len({row["batch_id"] for row in rows}) > 2


async def test_a_single_request_that_is_too_large_stops_the_run(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run() as run:
        simulator.script(*["413"] * 20, on="batch_create")
        handed, failed = await run.hand_over()
        assert (handed, len(failed), run.states) == (set(), 1, {"pending": 12})
        assert run.control.fatal


async def test_an_old_key_that_is_refused_does_not_stop_the_others(
    start_run: Open, simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_run() as run:
        await run.hand_over()
        run.elsewhere(monkeypatch, key_names=["the new one", fingerprint(KEY)])
        monkeypatch.setattr(Claude, "message_batches", lambda claude, _key: MessageBatches(claude))
        simulator.script("401", on="batch_retrieve")
        found = await run.collect()
        assert (found.going_on, run.control.stopped) == (1, None)
        assert "refused the key" in found.troubles[0]


async def test_what_was_thought_in_a_batch_is_recorded_and_paid(start_run: Open, simulator: SimulatorControl) -> None:
    async with start_run(generation={"thinking": "adaptive"}) as run:
        await run.hand_over(3)
        assert (await run.collect()).tally["generated"] == 3
        logs = run.rows("SELECT output_tokens, thinking_tokens, cost_pico, input_tokens FROM generation_logs")
    assert all(0 < thought < output for output, thought, _, _ in logs)
    billed = [row["usage"] for row in simulator.rows()]
    assert sorted(row[0] for row in logs) == sorted(usage["output_tokens"] for usage in billed)
    assert all(cost == 1_000_000 * inputs + 5_000_000 * output for output, _, cost, inputs in logs)  # half of $2 and $10


@pytest.mark.parametrize(
    ("told", "billing", "tenths"),
    [({"inference_geo": "us"}, "billed", 11), ({"service_tier": "batch"}, "billed", 10), ({"service_tier": "gold"}, "maybe", 10)],
)
async def test_what_a_result_says_of_its_terms_decides_its_price_as_online(
    start_run: Open, simulator: SimulatorControl, told: dict[str, str], billing: str, tenths: int
) -> None:
    simulator.set_usage_fields(**told)
    async with start_run() as run:
        await run.hand_over(3)
        assert (await run.collect()).tally["generated"] == 3
        logs = run.rows("SELECT billing, cost_pico, input_tokens, output_tokens, maybe_pico FROM generation_logs")
    for billed, cost, inputs, output, maybe in logs:
        assert (billed, cost) == (billing, (1_000_000 * inputs + 5_000_000 * output) * tenths // 10)
        assert (maybe > 0) == (billing == "maybe")


async def test_of_several_conversations_the_new_one_is_kept_and_the_next_prompts_are_told_of_it_as_online(
    start_run: Open, simulator: SimulatorControl
) -> None:
    some = [
        {"likelihood": likelihood, "turns": [{"role": "user", "content": said}, {"role": "assistant", "content": "Yes."}]}
        for said, likelihood in (("One?", 0.1), ("Two?", 0.2), ("Three?", 0.3))
    ]
    async with start_run(generation={"candidates": 3}) as run:
        run.control.recent, run.control.openings = RecentAnswers(""), Openings()
        simulator.script(*[{"kind": "ok", "text": json.dumps({"candidates": some})}] * 4)
        await run.hand_over(4)
        found = await run.collect()
        kept = [json.loads(turns)[0][1] for (turns,) in run.rows("SELECT turns FROM answers")]
    assert sorted(kept) == ["One?", "One?", "Three?", "Two?"], "the last answer holds nothing new"
    assert (found.tally["accepted"], found.tally["dropped"]) == (3, 1)
    assert all(f"- {said}" in run.control.openings.describe("Anxious Investor", "bonds") for said in ("Two?", "Three?"))
