"""The batch as a flow: 1 to 100 requests, typed failures, a state that says what came of them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError
from support import Project
from watching import Operator, wait_for

from convoforge.claude import SIMULATOR_KEY
from convoforge.flows.generate_requests import RequestsReport, generate_requests
from convoforge.generation.endpoint import limit_label
from convoforge.generation.requests import DEFAULT_MODEL, default_spec
from convoforge.pricing import dollars
from convoforge.rate import fingerprint
from convoforge.rate.keys import limit_name
from convoforge.simulator.client import SimulatorControl

RunFlow = Callable[..., State[Any]]


@pytest.fixture(autouse=True)
def _wide_open(operator: Operator) -> None:
    """A limit as an operator may set it: at the 50 requests a minute that are the default a hundred take two minutes."""
    label = limit_label(default_spec(DEFAULT_MODEL), "", "simulator")
    name = limit_name(label, fingerprint(SIMULATOR_KEY), DEFAULT_MODEL, "requests")
    operator.client.upsert_global_concurrency_limit_by_name(name, limit=1_000_000, slot_decay_per_second=1_000_000)


def requests(*topics: str, template: str = "advice") -> list[dict[str, Any]]:
    return [{"template": template, "persona": "Anxious Investor", "emotion": "Fear", "topic": topic} for topic in topics]


def result_in(state: State[Any]) -> Any:
    return state.data.result if hasattr(state.data, "result") else state.data


def summary_in(state: State[Any]) -> RequestsReport:
    found = result_in(state)
    assert isinstance(found, RequestsReport)
    return found


def test_a_batch_of_a_hundred_is_completed(
    run_flow: RunFlow, building: Project, simulator: SimulatorControl, operator: Operator
) -> None:
    state = run_flow(
        generate_requests, requests=requests(*(f"topic {n}" for n in range(100))), options={"simulate": True, "concurrency": 20}
    )
    summary = summary_in(state)
    assert (state.name, summary.successful, summary.failed, summary.skipped) == ("Completed", 100, 0, 0)
    cost = dollars(Decimal(summary.total_cost_usd))
    more = "convoforge show adhoc --simulated"
    assert state.message == f"100 of 100 generated, {cost} (simulated: nothing was paid); more: {more}"
    assert simulator.usage()["requests"] == len(set(summary.conversation_ids)) == 100
    table = operator.artifacts(str(state.state_details.flow_run_id))["table"]
    assert [row["topic"] for row in json.loads(table.data)] == [f"topic {n}" for n in range(100)]


@pytest.mark.parametrize("count", [0, 101])
def test_no_request_and_a_hundred_and_one_are_refused(count: int, run_flow: RunFlow, simulator: SimulatorControl) -> None:
    state = run_flow(generate_requests, requests=requests(*["topic one"] * count), options={"simulate": True})
    assert isinstance(result_in(state), ParameterTypeError)
    assert simulator.usage()["requests"] == 0


def test_failures_have_their_type_and_their_reason(run_flow: RunFlow, building: Project, simulator: SimulatorControl) -> None:
    for topic, fault in (("topic one", "prose"), ("topic two", "400"), ("topic three", "wrong_roles")):
        simulator.script(fault, match=topic)
    asked = [*requests("topic one", "topic two", "topic three", "topic four"), *requests("topic four", template="advise")]
    state = run_flow(generate_requests, requests=asked, options={"simulate": True})
    summary = summary_in(state)
    assert (state.name, summary.total, summary.successful, summary.failed) == ("Partial", 5, 1, 4)
    assert summary.error_types == {0: "ParseError", 1: "RejectedError", 2: "GenerationValidationError", 4: "ConfigError"}
    assert "did you mean 'advice'" in summary.reasons[4]


def test_stop_on_error_begins_nothing_more(run_flow: RunFlow, simulator: SimulatorControl) -> None:
    simulator.script("prose", match="topic one")
    asked = requests("topic four", "topic one", "topic two", "topic three")
    state = run_flow(generate_requests, requests=asked, options={"simulate": True, "concurrency": 1, "stop_on_error": True})
    summary = summary_in(state)
    assert (state.name, summary.successful, summary.failed, summary.skipped) == ("Partial", 1, 1, 2)
    assert simulator.usage()["requests"] == 2


def test_a_batch_that_brings_nothing_has_failed(run_flow: RunFlow, building: Project, simulator: SimulatorControl) -> None:
    simulator.script("402")
    state = run_flow(generate_requests, requests=requests("topic one", "topic two"), options={"simulate": True, "concurrency": 1})
    summary = summary_in(state)
    assert (state.type.value, summary.successful, summary.failed, summary.skipped) == ("FAILED", 0, 1, 1)
    assert state.message is not None and "402" in state.message and "\n" not in state.message
    with sqlite3.connect(building.data / "ledger.db") as connection:
        assert connection.execute("SELECT state FROM runs").fetchall() == [("failed",)]
        assert connection.execute("SELECT count(*) FROM owners").fetchone() == (0,)


def test_a_batch_that_cannot_begin_has_failed_with_one_line(run_flow: RunFlow, simulator: SimulatorControl) -> None:
    state = run_flow(generate_requests, requests=requests("topic one"))  # for real, while a simulator answers and there is no key
    assert state.type.value == "FAILED"
    assert state.message == f"{result_in(state)}; more: prefect flow-run logs {state.state_details.flow_run_id}"
    assert "no API key" in str(state.message)


def test_sigterm_lets_a_batch_end_what_it_has_begun(
    run_flow: RunFlow, building: Project, slow_simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", slow_simulator.url)

    def terminate() -> None:
        wait_for(lambda: slow_simulator.usage()["requests"] >= 2, "calls in flight")
        os.kill(os.getpid(), signal.SIGTERM)

    operator = threading.Thread(target=terminate)
    operator.start()
    state = run_flow(
        generate_requests, requests=requests(*(f"topic {n}" for n in range(20))), options={"simulate": True, "concurrency": 2}
    )
    operator.join()
    summary = summary_in(state)
    assert state.name == "Partial"
    assert summary.successful == slow_simulator.usage()["billed_delivered"]["requests"] < 20
    assert (summary.failed, summary.skipped) == (0, 20 - summary.successful)
    assert set(summary.reasons.values()) == {"stopped by SIGTERM"}
    with sqlite3.connect(building.data / "ledger.db") as connection:
        assert connection.execute("SELECT DISTINCT status FROM generation_logs").fetchall() == [("succeeded",)]
