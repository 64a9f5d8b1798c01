"""Every fault on demand, in the shape in which the real SDK meets it; random ones reproducibly."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.errors import ConfigError, GenerationValidationError, ParseError
from convoforge.parsing import parse_conversation
from convoforge.planning.quality import FilterChoice
from convoforge.scoring import Rubric, ScoringContext
from convoforge.scoring.registry import find_filters, find_scorers
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.faults import (
    BATCHED,
    BROKEN,
    ERROR_IN_200,
    ERRORS,
    KINDS,
    LINES,
    ODD,
    REFUSALS,
    SPOILED,
    Fault,
    FaultRates,
    Script,
    read_fault,
)

RUBRIC = Rubric(find_scorers(("turns", "length", "structure")))

Ask = Callable[..., anthropic.types.Message]
Wanted = Callable[..., dict[str, Any]]
Connect = Callable[..., anthropic.Anthropic]

CLASSES: dict[str, type[anthropic.APIStatusError]] = {
    "400": anthropic.BadRequestError,
    "401": anthropic.AuthenticationError,
    "402": anthropic.PaymentRequiredError,
    "403": anthropic.PermissionDeniedError,
    "404": anthropic.NotFoundError,
    "408": anthropic.RequestTimeoutError,
    "409": anthropic.ConflictError,
    "413": anthropic.ContentTooLargeError,
    "422": anthropic.UnprocessableEntityError,
    "429": anthropic.RateLimitError,
    "500": anthropic.InternalServerError,
    "502": anthropic.InternalServerError,
    "503": anthropic.ServiceUnavailableError,
    "504": anthropic.GatewayTimeoutError,
    "529": anthropic.OverloadedError,
}


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_every_kind_is_tried_here() -> None:
    tried = {"reset", "hang", "html", "broken_json"}
    tried |= {"truncation", "refusal", "overflow", "prose", "fenced", "wrong_roles", "short", "faulty", "repeated"}
    in_batches = {"expired", "canceled", *LINES}  # see test_simulator_batches.py
    in_table = {*SPOILED, *REFUSALS, ERROR_IN_200}  # see docs/api-answers.md
    assert set(KINDS) == {"ok"} | set(CLASSES) | tried | in_batches | in_table
    assert set(CLASSES) == set(ERRORS)
    assert tried == set(BROKEN) | set(ODD)
    assert in_batches == set(BATCHED) | set(LINES)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_the_sdks_exception_of_that_status_and_costs_nothing(ask: Ask, control: SimulatorControl, kind: str) -> None:
    control.script(kind)
    with pytest.raises(CLASSES[kind]) as caught:
        ask()
    assert type(caught.value) is CLASSES[kind]
    assert caught.value.type == ERRORS[kind][0]
    assert ask().stop_reason == "end_turn"
    assert control.usage()["outcomes"] == {kind: 1, "ok": 1}
    assert control.usage()["billed_delivered"]["requests"] == 1


def test_an_error_says_when_to_come_back_and_why(ask: Ask, control: SimulatorControl) -> None:
    control.script({"kind": "429", "retry_after": 2.5}, "429", {"kind": "429", "error_code": "enforced_spend_limit_reached"})
    with pytest.raises(anthropic.RateLimitError) as first:
        ask()
    with pytest.raises(anthropic.RateLimitError) as second:
        ask()
    with pytest.raises(anthropic.EnforcedSpendLimitReachedError):
        ask()
    assert first.value.response.headers["retry-after"] == "2.5"
    assert "retry-after" not in second.value.response.headers


def test_a_reset_breaks_the_connection_in_the_middle_and_is_billed(
    ask: Ask, client: anthropic.Anthropic, control: SimulatorControl, wanted: Wanted
) -> None:
    control.script("reset")
    with pytest.raises(anthropic.APIConnectionError):
        ask()
    assert ask().stop_reason == "end_turn"
    assert billed(control) == (1, 1)


def test_a_hang_lasts_until_the_client_leaves_and_is_billed(control: SimulatorControl, wanted: Wanted, connect: Connect) -> None:
    control.script("hang")
    with connect(control.url, timeout=0.3) as client, pytest.raises(anthropic.APITimeoutError):
        client.messages.create(**wanted())
    assert billed(control) == (0, 1)
    assert control.rows()[0]["status"] == 0


def test_a_client_that_leaves_before_its_answer_is_billed_all_the_same(
    control: SimulatorControl, wanted: Wanted, connect: Connect
) -> None:
    from convoforge.simulator.launch import simulator_process

    with simulator_process(latency_ms=20_000) as url, connect(url, timeout=0.3) as client:
        with pytest.raises(anthropic.APITimeoutError):
            client.messages.create(**wanted())
        slow = SimulatorControl(url)
        wait_for(lambda: "left" in slow.usage()["outcomes"])
        assert billed(slow) == (0, 1)


def test_html_is_a_200_that_is_not_json_and_costs_nothing(
    client: anthropic.Anthropic, control: SimulatorControl, wanted: Wanted
) -> None:
    control.script("html")
    answer = client.messages.with_raw_response.create(**wanted()).http_response
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert "<html>" in answer.text
    assert billed(control) == (0, 0)


def test_broken_json_ends_halfway_and_is_billed(
    ask: Ask, client: anthropic.Anthropic, control: SimulatorControl, wanted: Wanted
) -> None:
    control.script("broken_json")
    with pytest.raises(json.JSONDecodeError):
        ask()
    assert billed(control) == (0, 1)


def test_a_truncated_answer_stops_at_max_tokens_without_its_end(ask: Ask, control: SimulatorControl) -> None:
    control.script("truncation")
    message = ask()
    assert message.stop_reason == "max_tokens"
    with pytest.raises(json.JSONDecodeError):
        json.loads(text_of(message))
    assert billed(control) == (1, 0)


def test_a_refusal_is_empty_and_names_its_category(ask: Ask, control: SimulatorControl) -> None:
    control.script("refusal", {"kind": "refusal", "category": "cyber"})
    refused = [ask(), ask()]
    assert [message.content for message in refused] == [[], []]
    assert [message.stop_reason for message in refused] == ["refusal", "refusal"]
    assert [message.stop_details.category for message in refused if message.stop_details] == ["general_harms", "cyber"]
    assert all(message.usage.output_tokens == 1 for message in refused)
    assert billed(control) == (2, 0)


def test_an_overflow_names_the_context_window(ask: Ask, control: SimulatorControl) -> None:
    control.script("overflow")
    assert ask().stop_reason == "model_context_window_exceeded"


def test_prose_holds_no_json(ask: Ask, control: SimulatorControl) -> None:
    control.script("prose")
    text = text_of(ask())
    assert "market volatility" in text
    with pytest.raises(ParseError):
        parse_conversation(text)


def test_a_fence_has_prose_around_it_and_a_conversation_in_it(ask: Ask, control: SimulatorControl) -> None:
    control.script("fenced")
    text = text_of(ask("f"))
    before, inside, after = text.split("```")
    assert before.strip()
    assert after.strip()
    assert inside.startswith("json\n")
    assert len(parse_conversation(text).turns) >= 2


def test_wrong_roles_are_two_turns_of_the_user_in_a_row(ask: Ask, control: SimulatorControl) -> None:
    control.script("wrong_roles")
    text = text_of(ask())
    assert [turn["role"] for turn in json.loads(text)["turns"]][:2] == ["user", "user"]
    with pytest.raises(GenerationValidationError):
        parse_conversation(text)


def test_a_short_conversation_is_sound_and_scores_under_six(ask: Ask, control: SimulatorControl) -> None:
    control.script(*["short"] * 20)
    scored = [RUBRIC.score(parse_conversation(text_of(ask(variant))), ScoringContext()) for variant in range(20)]
    assert all(one.quality.score < 6 for one in scored)


def test_a_faulty_answer_is_rejected_by_the_filters_and_a_repeated_one_says_the_same_again(
    ask: Ask, control: SimulatorControl
) -> None:
    filters = Rubric((), find_filters((FilterChoice(name="default"),)))
    control.script(*["faulty"] * 40, *["ok"] * 40, "repeated", "repeated")
    said = [parse_conversation(text_of(ask(variant))) for variant in range(82)]
    kept = [not filters.score(one, ScoringContext()).quality.results for one in said]
    assert (sum(kept[:40]), sum(kept[40:80])) == (0, 40)
    assert said[80] == said[81] != said[79]


def test_a_script_can_give_the_very_words_of_an_answer(ask: Ask, control: SimulatorControl) -> None:
    control.script({"kind": "ok", "text": "no more, no less"})
    assert text_of(ask()) == "no more, no less"


def test_a_script_waits_for_the_requests_it_is_meant_for(ask: Ask, control: SimulatorControl) -> None:
    control.script("500", "ok", "529", match="Variant: 7\n")
    assert [outcome(ask, variant) for variant in (1, 7, 7, 2, 7, 7)] == [200, 500, 200, 200, 529, 200]


def test_the_older_of_two_scripts_goes_first(ask: Ask, control: SimulatorControl) -> None:
    control.script("500")
    control.script("529", "ok", match="Variant: 7\n")
    assert [outcome(ask, variant) for variant in (7, 7, 1)] == [500, 529, 200]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"faults": ["429", "530"]}, "unknown fault '530'"),
        ({"faults": ["trunkation"]}, "did you mean 'truncation'"),
        ({"faults": [{"kind": "429", "retry": 3}]}, "a fault has no 'retry'; did you mean 'retry_after'"),
        ({"faults": [{"retry_after": 3}]}, "cannot read the fault"),
        ({"fault": []}, "faults"),
        ([], "cannot read the script"),
    ],
)
def test_a_script_with_a_mistake_is_refused_with_the_nearest_name(control: SimulatorControl, script: object, said: str) -> None:
    answer = httpx2.post(f"{control.url}/_simulator/script", json=script)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert httpx2.post(f"{control.url}/_simulator/script", json={"faults": []}).json() == {"pending": 0}


def test_a_reset_forgets_scripts_and_usage(ask: Ask, control: SimulatorControl) -> None:
    control.script("500", "500")
    assert outcome(ask) == 500
    control.reset()
    assert outcome(ask) == 200
    assert control.usage()["outcomes"] == {"ok": 1}


@given(st.integers(0, 2**64 - 1), st.integers(0, 100))
def test_random_faults_are_the_same_for_the_same_seed_prompt_and_try(key: int, seed: int) -> None:
    rates = {"529": 0.4, "reset": 0.3}
    first, second = FaultRates(rates, seed), FaultRates(rates, seed)
    second.draw(key ^ 1)  # what others draw does not matter
    assert [first.draw(key) for _ in range(5)] == [second.draw(key) for _ in range(5)]


def test_random_faults_come_as_often_as_asked_and_a_retry_can_succeed() -> None:
    rates = FaultRates({"529": 0.2, "reset": 0.1}, seed=1)
    first = {key: rates.draw(key).kind for key in range(20_000)}
    counts = Counter(first.values())
    assert counts["529"] == pytest.approx(4000, abs=250)
    assert counts["reset"] == pytest.approx(2000, abs=200)
    again = Counter(rates.draw(key).kind for key, kind in first.items() if kind != "ok")
    assert again["ok"] / again.total() == pytest.approx(0.7, abs=0.03)


def test_without_rates_nothing_is_remembered() -> None:
    rates = FaultRates({}, seed=1)
    assert rates.draw(5) == Fault()
    assert not rates._tries


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.lists(st.sampled_from(KINDS), max_size=4)), max_size=5), st.data()
)
def test_every_scripted_fault_is_met_exactly_once(acts: list[tuple[str | None, list[str]]], data: st.DataObject) -> None:
    script = Script()
    for match, kinds in acts:
        script.add([read_fault(kind) for kind in kinds], match)
    met: list[str] = []
    for prompt in data.draw(st.lists(st.sampled_from(["a", "b", "ab"]), min_size=5, max_size=10)):
        if fault := script.take(prompt):
            met.append(fault.kind)
    while fault := script.take("ab"):
        met.append(fault.kind)
    assert Counter(met) == Counter(kind for _, kinds in acts for kind in kinds)
    assert script.pending == 0


def test_a_fault_that_is_no_fault_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="cannot read the fault 5"):
        read_fault(5)


def outcome(ask: Ask, variant: object = 0) -> int:
    """The status a call ends with."""
    try:
        ask(variant)
    except anthropic.APIStatusError as error:
        return error.status_code
    return 200


def billed(control: SimulatorControl) -> tuple[int, int]:
    """Billed requests: delivered, undelivered."""
    found = control.usage()
    return found["billed_delivered"]["requests"], found["billed_undelivered"]["requests"]


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
