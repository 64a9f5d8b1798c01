"""Builds in message batches: half the price, each answer once, whatever breaks on the way; and the collector, which sends nothing."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from prefect.client.schemas.objects import State
from support import Project
from watching import wait_for

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.flows.collect_message_batches import collect_message_batches
from convoforge.models import Usage
from convoforge.pricing import cost, price_of
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process
from convoforge.tasks.report import BuildReport

RunFlow = Callable[..., State[Any]]
PRICE = price_of("claude-sonnet-5-5", batch=True)


def told(state: State[Any]) -> BuildReport:
    found = state.data.result if hasattr(state.data, "result") else state.data
    assert isinstance(found, BuildReport), found
    return found


@pytest.fixture
def server(simulator: SimulatorControl) -> SimulatorControl:
    return SimulatorControl(simulator.url)


@pytest.fixture
def slow() -> Iterator[SimulatorControl]:
    """Works on a batch for two seconds."""
    with simulator_process(batch_seconds=2) as url:
        yield SimulatorControl(url)


def rows(project: Project, query: str) -> list[Any]:
    with sqlite3.connect(project.data / "ledger.db") as connection:
        return connection.execute(query).fetchall()


def said_in(project: Project, name: str) -> dict[str, str]:
    """What was said, by cell and text: conversations of a dataset."""
    version = project.data / "simulated" / name / "latest"
    frame = pl.concat([pl.read_parquet(file) for file in sorted((version / "data").glob("*.parquet"))])
    assert len(set(frame["conversation_id"])) == len(frame)
    return {
        f"{row['persona']}/{row['emotion']}/{row['topic']}": json.dumps(row["messages"]) for row in frame.iter_rows(named=True)
    }


def check_costs(project: Project, server: SimulatorControl) -> None:
    """What the ledger says was billed in batches is what the server billed, token for token and cent for cent."""
    billed = [row for row in server.rows() if row["batch_id"] and row["billed"]]
    names = {
        "input_tokens": "input_tokens",
        "output_tokens": "output_tokens",
        "cache_read_tokens": "cache_read_input_tokens",
        "cache_write_5m_tokens": "ephemeral_5m_input_tokens",
        "cache_write_1h_tokens": "ephemeral_1h_input_tokens",
        "thinking_tokens": "thinking_tokens",
    }
    paid = {row["message_id"]: Usage(**{ours: row["usage"][theirs] for ours, theirs in names.items()}) for row in billed}
    recorded = rows(
        project,
        f"SELECT api_request_id, cost_pico, {', '.join(names)} FROM generation_logs WHERE billing = 'billed' AND batch_id IS NOT NULL",
    )
    assert {row[0]: Usage(*row[2:]) for row in recorded} == paid
    assert len(recorded) == len(paid)
    assert sum(row[1] for row in recorded) == sum(int(cost(usage, PRICE) * 10**12) for usage in paid.values())
    assert rows(project, "SELECT count(*) FROM generation_logs WHERE status = 'open'") == [(0,)]
    [(reserved, spent)] = rows(project, "SELECT sum(reserved_pico), sum(spent_pico) FROM budgets WHERE scope LIKE 'dataset:%'")
    assert (reserved, spent) == (0, sum(row[0] for row in rows(project, "SELECT cost_pico FROM generation_logs")))


def test_a_dataset_made_in_batches_is_the_one_made_online_at_half_the_price(
    run_build: RunFlow, building: Project, server: SimulatorControl
) -> None:
    building.spec("batch-whole", generation={"caching": False})
    online = told(run_build(spec="batch-whole", simulate=True))
    before = said_in(building, "batch-whole")
    building.environment["CONVOFORGE_DATA_DIR"] = str(building.folder / "other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVOFORGE_DATA_DIR", str(building.folder / "other"))
        report = told(run_build(spec="batch-whole", simulate=True, batch=True))
    assert (report.state, report.generated, report.accepted, report.in_batches) == ("completed", 8, 8, 0)
    frames = sorted((building.folder / "other" / "simulated" / "batch-whole" / "latest" / "data").glob("*.parquet"))
    made = pl.concat([pl.read_parquet(file) for file in frames])
    assert {json.dumps(one) for one in made["messages"].to_list()} == set(before.values())
    assert 2 * float(report.cost_usd) == pytest.approx(float(online.cost_usd))


@pytest.mark.long
def test_the_costs_of_batches_with_a_cache_are_the_server_s(
    run_build: RunFlow, building: Project, server: SimulatorControl
) -> None:
    building.spec("batch-costs")
    report = told(run_build(spec="batch-costs", simulate=True, batch=True))
    check_costs(building, server)
    assert report.cache_hit_rate is not None and report.cache_hit_rate > 0.3
    assert report.estimated_cost_usd is not None
    assert server.usage()["requests"] == 0  # nothing went out online
    assert rows(building, "SELECT state, requests FROM batches") == [("ended", 8)]
    assert rows(building, "SELECT DISTINCT price FROM generation_logs") == [(PRICE.text,)]


def test_a_spec_may_ask_for_batches_by_itself(run_build: RunFlow, building: Project, server: SimulatorControl) -> None:
    building.spec("batch-mode", mode="batch")
    assert told(run_build(spec="batch-mode", simulate=True)).accepted == 8
    assert len(server.rows()) == 8 == sum(row["batch_id"] is not None for row in server.rows())


def test_what_expired_or_errored_is_asked_for_again_and_was_not_paid(
    run_build: RunFlow, building: Project, server: SimulatorControl
) -> None:
    building.spec("batch-errors")
    server.script("expired", "500", "529", "canceled", "refusal")
    report = told(run_build(spec="batch-errors", simulate=True, batch=True))
    assert (report.state, report.accepted, report.dropped) == ("completed", 8, 1)
    check_costs(building, server)
    failed = rows(building, "SELECT error_kind, billing, cost_pico FROM generation_logs WHERE status = 'failed' ORDER BY 1")
    assert failed == [("api_error", "none", 0), ("canceled", "none", 0), ("expired", "none", 0), ("overloaded_error", "none", 0)]


def test_a_batch_that_the_api_refuses_fails_one_request_and_not_its_neighbours(
    run_build: RunFlow, building: Project, server: SimulatorControl
) -> None:
    building.spec("batch-rejected")
    server.script("400")
    report = told(run_build(spec="batch-rejected", simulate=True, batch=True))
    assert Counter(state for (state,) in rows(building, "SELECT state FROM requests"))["failed"] == 1
    assert report.accepted == 8  # another draw has taken its place
    check_costs(building, server)


@pytest.mark.parametrize(
    "fault", ["reset", *(pytest.param(one, marks=pytest.mark.long) for one in ("hang", "html", "broken_json"))]
)
def test_a_batch_whose_making_was_never_confirmed_is_found_by_listing(
    run_build: RunFlow, building: Project, server: SimulatorControl, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("convoforge.claude.batches.HANDOVER_SECONDS", 2.0)
    building.spec("batch-nameless")
    server.script(fault, on="batch_create")
    report = told(run_build(spec="batch-nameless", simulate=True, batch=True))
    assert (report.accepted, report.generated) == (8, 8)
    assert len({row["batch_id"] for row in server.rows()}) == 1
    check_costs(building, server)


@pytest.mark.long
def test_of_two_alike_batches_without_a_name_each_is_recognised(
    run_build: RunFlow, building: Project, server: SimulatorControl
) -> None:
    for name in ("batch-twin-a", "batch-twin-b"):
        building.spec(name)
    server.script("reset", "reset", on="batch_create")
    server.script("500", "500", on="batch_list")  # neither is found before the other is made, too
    one = told(run_build(spec="batch-twin-a", simulate=True, batch=True, wait=False))
    other = told(run_build(spec="batch-twin-b", simulate=True, batch=True, wait=False))
    assert (one.in_batches, other.in_batches) == (8, 8)
    for name in ("batch-twin-b", "batch-twin-a"):
        assert told(run_build(spec=name, simulate=True, batch=True)).accepted == 8
    assert len({row["batch_id"] for row in server.rows()}) == 2
    check_costs(building, server)


@pytest.mark.long
def test_a_batch_that_was_never_made_is_given_back_unpaid(
    run_build: RunFlow, building: Project, server: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoforge.generation.batch_results.SETTLE", timedelta(seconds=0.5))
    building.spec("batch-never", retry={"max_attempts": 1, "base_delay_seconds": 0.01, "jitter_seconds": 0})

    async def lost(*_: Any, **__: Any) -> None:
        return None  # as after a connection that broke before the API had it all

    with monkeypatch.context() as patch:
        patch.setattr("convoforge.generation.message_batches.Batcher._create", lost)
        first = told(run_build(spec="batch-never", simulate=True, batch=True, limit=3))
    assert (first.generated, first.cost_usd) == (0, "0.00")
    assert rows(building, "SELECT DISTINCT status, billing, error_kind FROM generation_logs") == [
        ("failed", "none", "never_made")
    ]
    assert told(run_build(spec="batch-never", simulate=True, batch=True)).accepted == 8
    check_costs(building, server)


@pytest.mark.parametrize("fault", ["529", pytest.param("500", marks=pytest.mark.long)])
def test_an_api_without_room_is_asked_again_for_a_batch(
    run_build: RunFlow, building: Project, server: SimulatorControl, fault: str
) -> None:
    building.spec("batch-again")
    server.script(fault, fault, on="batch_create")
    assert told(run_build(spec="batch-again", simulate=True, batch=True)).accepted == 8
    assert len(server.rows()) == 8


def test_results_that_break_off_are_read_again_and_written_once(
    run_build: RunFlow, building: Project, server: SimulatorControl
) -> None:
    building.spec("batch-broken", per_cell=4)
    server.script("reset", "broken_json", "500", on="batch_results")
    server.script("500", "404", on="batch_retrieve")
    report = told(run_build(spec="batch-broken", simulate=True, batch=True))
    assert (report.accepted, report.generated) == (32, len(server.rows()))
    check_costs(building, server)


@pytest.mark.long
def test_a_run_does_not_wait_if_told_so_and_the_collector_publishes(
    run_flow: RunFlow, run_build: RunFlow, building: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulator_process(batch_seconds=20) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        _later(run_flow, run_build, building, SimulatorControl(url))


def _later(run_flow: RunFlow, run_build: RunFlow, building: Project, slow: SimulatorControl) -> None:
    building.spec("batch-later")
    state = run_build(spec="batch-later", simulate=True, batch=True, wait=False)
    report = told(state)
    assert (state.name, report.in_batches, report.generated, report.cost_usd, report.version) == ("Partial", 8, 0, "0.00", None)
    assert told(state).message == "0 of 8 accepted; 8 are in batches: build again to collect them"
    listed = building.run("status")
    assert "open batch" in listed.out and "batch-later" in listed.out.split("open batch")[1]
    [batch] = building.run("status", "--json").last["batches"]
    assert (batch["dataset"], batch["requests"], batch["run_id"]) == ("batch-later", 8, report.run_id[:8])
    assert batch["last_look"] is not None  # `--no-wait` looks once
    assert (batch["api_status"], batch["trouble"]) == ("in_progress", None)
    assert "the API works on it" in listed.out
    early = run_flow(collect_message_batches, options={"simulate": True})
    assert early.message == "batch-later: 0 of 8 accepted; 8 are in batches: build again to collect them; more: convoforge status"
    assert (
        run_flow(collect_message_batches, options={"simulate": False}).message == "no batch is open; more: convoforge status"
    )  # real ones are another matter
    late = wait_for(
        lambda: (state := run_flow(collect_message_batches, options={"simulate": True})).message != early.message and state,
        "its end",
    )
    assert (late.name, late.message) == ("Completed", "batch-later: all 8 accepted; more: convoforge status")
    assert len(said_in(building, "batch-later")) == 8
    assert run_flow(collect_message_batches, options={"simulate": True}).message == "no batch is open; more: convoforge status"
    check_costs(building, slow)
    [(run,)] = rows(building, "SELECT DISTINCT run_id FROM generation_logs")
    assert run == report.run_id  # who asked has paid, whoever collected


@pytest.mark.long
def test_what_was_paid_is_collected_though_its_model_has_been_retired(
    run_flow: RunFlow, run_build: RunFlow, building: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    building.spec("late", mode="batch")
    with simulator_process(batch_seconds=10) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        server = SimulatorControl(url)
        assert told(run_build(spec="late", simulate=True, wait=False)).in_batches == 8
        server.set_model_fields("claude-sonnet-5-5", lifecycle="retired", retires_at="2026-11-26T00:00:00Z")

        def collected() -> bool:
            state = run_flow(collect_message_batches, options={"simulate": True})
            assert state.is_completed(), state.message
            return rows(building, "SELECT count(*) FROM answers") == [(8,)]

        wait_for(collected, "the batch's answers")
        assert len(said_in(building, "late")) == 8
        again = run_build(spec="late", simulate=True)
        assert again.is_failed()
        assert "is retired since 26 November 2026" in (again.message or "")
        check_costs(building, server)


@pytest.mark.long
def test_a_build_collects_what_an_earlier_one_has_left_in_batches_also_an_online_one(
    run_build: RunFlow, building: Project, slow: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", slow.url)
    building.spec("batch-left")
    assert told(run_build(spec="batch-left", simulate=True, batch=True, wait=False, limit=5)).in_batches == 5
    report = told(run_build(spec="batch-left", simulate=True))
    assert (report.accepted, report.generated) == (8, 3)
    assert "5 answers came from batches of earlier runs, which have paid for them" in report.notes
    assert Counter(row["batch_id"] is None for row in slow.rows()) == {True: 3, False: 5}


def test_a_limit_holds_for_batches_too(run_build: RunFlow, building: Project, server: SimulatorControl) -> None:
    building.spec("batch-limit")
    report = told(run_build(spec="batch-limit", simulate=True, batch=True, limit=3))
    assert (report.state, report.generated, len(server.rows())) == ("limited", 3, 3)


@pytest.mark.long
def test_a_budget_is_never_passed_and_what_it_has_room_for_is_made(
    run_build: RunFlow, building: Project, server: SimulatorControl
) -> None:
    # the worst case of a request is about two and a half cents in a batch, what it costs a third of a cent
    building.spec("batch-budget", budget={"run_usd": 0.06}, per_cell=8)
    state = run_build(spec="batch-budget", simulate=True, batch=True)
    report = told(state)
    assert (state.name, report.state) == ("Partial", "partial")
    assert "run budget reached at $0.0" in report.message
    assert 0 < float(report.cost_usd) <= 0.06
    assert len({row["batch_id"] for row in server.rows()}) > 1  # what came back made room for more
    assert report.published
    check_costs(building, server)
    more = told(run_build(spec="batch-budget", simulate=True, batch=True, budget=5))
    assert (more.state, more.accepted) == ("completed", 64)
    check_costs(building, server)


@pytest.mark.long
def test_large_batches_are_handed_over_in_pieces(
    run_build: RunFlow, building: Project, server: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoforge.generation.message_batches.MAX_BYTES", 30_000)  # a request is some 7,000
    monkeypatch.setattr("convoforge.generation.message_batches.MAX_REQUESTS", 3)
    building.spec("batch-pieces")
    assert told(run_build(spec="batch-pieces", simulate=True, batch=True)).accepted == 8
    assert sorted(Counter(row["batch_id"] for row in server.rows()).values()) == [2, 3, 3]


def test_a_build_killed_while_it_waits_loses_nothing_and_pays_nothing_twice(
    building: Project, slow: SimulatorControl, run_build: RunFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    building.spec("batch-killed")
    process = building.start("build", "batch-killed", "--simulate", "--batch", "--json", ANTHROPIC_BASE_URL=slow.url)
    wait_for(lambda: len(slow.rows()) == 8 or process.poll() is not None, "a batch")
    process.kill()
    process.communicate()
    monkeypatch.setenv("ANTHROPIC_BASE_URL", slow.url)
    report = told(run_build(spec="batch-killed", simulate=True, batch=True))
    assert (report.accepted, report.generated) == (8, 0)
    assert len(slow.rows()) == 8
    check_costs(building, slow)


def test_ctrl_c_leaves_batches_to_the_next_build(building: Project, slow: SimulatorControl) -> None:
    import signal

    building.spec("batch-ctrl-c")
    process = building.start("build", "batch-ctrl-c", "--simulate", "--batch", "--json", ANTHROPIC_BASE_URL=slow.url)
    wait_for(lambda: len(slow.rows()) == 8 or process.poll() is not None, "a batch")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    last = json.loads(out.strip().splitlines()[-1])
    assert (process.returncode, last["state"], last["in_batches"], last["generated"]) == (3, "partial", 8, 0), err
    done = building.run("build", "batch-ctrl-c", "--simulate", "--json", ANTHROPIC_BASE_URL=slow.url)
    assert (done.code, done.last["accepted"]) == (0, 8), done.err
    assert len(slow.rows()) == 8


def test_a_batch_of_another_key_is_said_and_not_given_up(
    run_build: RunFlow, building: Project, slow: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", slow.url)
    building.spec("batch-key")
    run_build(spec="batch-key", simulate=True, batch=True, wait=False)
    with monkeypatch.context() as patch:
        patch.setattr("convoforge.generation.endpoint.SIMULATOR_KEY", "sk-other")
        state = run_build(spec="batch-key", simulate=True, batch=True)
    assert state.type.value == "FAILED"
    assert state.message is not None and "was made under another API key" in state.message
    assert told(run_build(spec="batch-key", simulate=True, batch=True)).accepted == 8


@pytest.mark.long
def test_a_batch_that_the_api_has_forgotten_may_have_been_billed(
    run_build: RunFlow, building: Project, slow: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", slow.url)
    building.spec("batch-forgotten")
    run_build(spec="batch-forgotten", simulate=True, batch=True, wait=False, limit=4)
    slow.reset()
    monkeypatch.setattr("convoforge.generation.batch_results.MISSING_FOR", timedelta(0))
    report = told(run_build(spec="batch-forgotten", simulate=True, batch=True))
    assert report.accepted == 8
    lost = rows(building, "SELECT status, billing, error_kind FROM generation_logs WHERE billing = 'maybe'")
    assert lost == [("failed", "maybe", "lost")] * 4


def test_a_line_that_cannot_be_read_costs_one_answer_and_is_told_by_build_and_status(
    run_build: RunFlow, building: Project, server: SimulatorControl
) -> None:
    building.spec("batch-line")
    server.script("ok", "ok", "line_cut", "line_event", "line_half_character")
    report = told(run_build(spec="batch-line", simulate=True, batch=True))
    assert (report.state, report.accepted) == ("completed", 8)  # the two are asked again, the half character has another draw
    [note] = [note for note in report.notes if "could not be read" in note]
    assert "1 could not be read and 1 never came" in note
    listed = building.run("status")
    assert "1 could not be read and 1 never came" in listed.out
    [over] = building.run("status", "--json").last["batch_failures"]
    assert over["trouble"] == note
    maybe = rows(building, "SELECT error_kind FROM generation_logs WHERE billing = 'maybe' ORDER BY 1")
    assert maybe == [("bad_body",), ("lost",)]
    assert len(server.rows()) == 8 + 1 + 2


def test_a_batch_that_cannot_be_looked_at_is_told_with_what_will_become_of_it(
    run_build: RunFlow, building: Project, slow: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", slow.url)
    building.spec("batch-trouble")
    slow.script("404", on="batch_retrieve")
    report = told(run_build(spec="batch-trouble", simulate=True, batch=True, wait=False))
    assert report.in_batches == 8
    assert any("the API has not had batch" in note for note in report.notes)
    listed = building.run("status").out
    assert "the API has not had batch" in listed and "asked again after" in listed
    [batch] = building.run("status", "--json").last["batches"]
    assert batch["trouble"] is not None and batch["given_up_at"] > batch["last_look"]
    assert told(run_build(spec="batch-trouble", simulate=True, batch=True)).accepted == 8
    assert len(slow.rows()) == 8


@pytest.mark.parametrize(
    ("changes", "given", "said"),
    [
        ({"model": "claude-opus-4-1"}, {}, "no batch price is known for the model 'claude-opus-4-1'"),
        ({"model": "mine", "prices": {"input": 1, "output": 2}}, {}, "batch: 0.5"),
        ({}, {"workers": 2}, "leave out one of the two"),
    ],
)
def test_what_cannot_be_made_in_batches_is_said_before_anything_is_sent(
    run_build: RunFlow, building: Project, server: SimulatorControl, changes: dict[str, Any], given: dict[str, Any], said: str
) -> None:
    building.spec("batch-cannot", **changes)
    state = run_build(spec="batch-cannot", simulate=True, batch=True, **given)
    found = state.data.result if hasattr(state.data, "result") else state.data
    assert isinstance(found, ConfigError | ConvoforgeError)
    assert said in str(found) and "\n" not in str(found)
    assert server.rows() == []
