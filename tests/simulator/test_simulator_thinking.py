"""The simulator thinks as the models do: unless told not to, within `max_tokens`, billed as output; and refuses what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from convoforge.simulator.client import SimulatorControl

Ask = Callable[..., anthropic.types.Message]
Wanted = Callable[..., dict[str, Any]]


def thought(message: anthropic.types.Message) -> int:
    assert message.usage.output_tokens_details is not None
    return message.usage.output_tokens_details.thinking_tokens


@pytest.mark.parametrize(
    "model", ["claude-sonnet-5-5", "claude-sonnet-5", "claude-opus-5-5", "claude-haiku-5-5", "claude-fable-5-2"]
)
def test_who_says_nothing_pays_for_thought(ask: Ask, control: SimulatorControl, model: str) -> None:
    message = ask(model=model)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert 100 < thought(message) < message.usage.output_tokens
    (row,) = control.rows()
    assert (row["usage"]["output_tokens"], row["usage"]["thinking_tokens"]) == (message.usage.output_tokens, thought(message))


@pytest.mark.parametrize(
    ("model", "kind"), [("claude-sonnet-5-5", "between_tools"), ("claude-sonnet-5", "disabled"), ("claude-haiku-5-5", "disabled")]
)
def test_who_says_off_in_the_model_s_way_pays_for_none(ask: Ask, model: str, kind: str) -> None:
    message = ask(model=model, thinking={"type": kind})
    assert [block.type for block in message.content] == ["text"]
    assert thought(message) == 0


@pytest.mark.parametrize("model", ["claude-opus-4-8", "claude-sonnet-4-6"])
def test_an_older_model_thinks_when_it_is_asked_to(ask: Ask, model: str) -> None:
    assert thought(ask(model=model)) == 0
    assert thought(ask(model=model, thinking={"type": "adaptive"})) > 0


def test_more_effort_is_more_thought_and_the_default_is_the_model_s(ask: Ask) -> None:
    levels = [
        thought(ask(output_config={"effort": level}, max_tokens=20_000)) for level in ("low", "medium", "high", "xhigh", "max")
    ]
    assert levels == sorted(set(levels))
    assert thought(ask(output_config={}, max_tokens=20_000)) == levels[2]
    medium = ask(model="claude-opus-5-5", output_config={"effort": "medium"})
    assert thought(ask(model="claude-opus-5-5", output_config={})) == thought(medium)


def test_thought_counts_toward_max_tokens_and_cuts_the_answer(ask: Ask) -> None:
    whole = ask(max_tokens=20_000)
    cut = ask(max_tokens=thought(whole) + 100)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", thought(whole) + 100)
    assert thought(cut) == thought(whole)
    nothing = ask(max_tokens=300)
    assert (nothing.stop_reason, thought(nothing), nothing.usage.output_tokens) == ("max_tokens", 300, 300)
    assert [block.type for block in nothing.content] == ["thinking"]


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        ("claude-sonnet-5-5", {"thinking": {"type": "disabled"}}, 'send "thinking": {"type": "between_tools"}'),
        ("claude-opus-5-5", {"thinking": {"type": "disabled"}}, '"thinking.type.disabled" is not supported for this model'),
        ("claude-fable-5-2", {"thinking": {"type": "disabled"}}, "not supported"),
        ("claude-opus-5-5", {"thinking": {"type": "between_tools"}}, "not supported"),
        ("claude-haiku-5-5", {"thinking": {"type": "between_tools"}}, "not supported"),
        ("claude-opus-4-7", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "not supported"),
        ("claude-haiku-4-5", {"thinking": {"type": "adaptive"}}, "not supported"),
        ("claude-haiku-4-5", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, "no thinking with a budget"),
        ("claude-sonnet-5-5", {"thinking": {"type": "deep"}}, "thinking.type: Input should be"),
        ("claude-haiku-4-5", {"output_config": {"effort": "low"}}, "does not support the effort parameter"),
        ("claude-sonnet-4-6", {"output_config": {"effort": "xhigh"}}, "does not support effort level 'xhigh'"),
        ("claude-sonnet-5-5", {"output_config": {"effort": "much"}}, "output_config.effort: Input should be"),
        ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}}, "thinking turned off"),
        ("claude-haiku-5-5", {"thinking": {"type": "disabled"}, "output_config": {"effort": "xhigh"}}, "thinking turned off"),
        (
            "claude-sonnet-4-6",
            {
                "thinking": {"type": "adaptive"},
                "extra_body": {"temperature": 0.5},
                "extra_headers": {"anthropic-version": "2023-06-01"},
            },
            "temperature",
        ),
    ],
)
def test_what_a_model_does_not_take_is_a_400(
    ask: Ask, control: SimulatorControl, model: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=said):
        ask(model=model, **changes)
    assert control.usage()["outcomes"] == {"400": 1}


def test_in_a_batch_it_is_the_same(client: anthropic.Anthropic, wanted: Wanted, ask: Ask) -> None:
    requests = [
        {"custom_id": "thinks", "params": wanted()},
        {"custom_id": "off", "params": wanted(thinking={"type": "between_tools"})},
        {"custom_id": "refused", "params": wanted(thinking={"type": "disabled"})},
        {"custom_id": "cut", "params": wanted(max_tokens=256)},
    ]
    batch = client.messages.batches.create(requests=requests)  # type: ignore[arg-type]
    assert client.messages.batches.retrieve(batch.id).processing_status == "ended"
    found = {one.custom_id: one.result for one in client.messages.batches.results(batch.id)}
    results = {name: result.message for name, result in found.items() if result.type == "succeeded"}
    assert thought(results["thinks"]) == thought(ask())
    assert thought(results["off"]) == 0
    assert (results["cut"].stop_reason, thought(results["cut"])) == ("max_tokens", 256)
    assert found["refused"].type == "errored"
    assert "between_tools" in found["refused"].error.error.message


def test_the_models_route_says_what_is_taken(client: anthropic.Anthropic) -> None:
    told = client.models.retrieve("claude-sonnet-5-5")
    assert told.capabilities is not None
    types = told.capabilities.thinking.types
    assert (types.adaptive.supported, types.between_tools.supported, types.disabled.supported, types.enabled.supported) == (
        True, True, False, False,
    )  # fmt: skip
    assert (told.max_tokens, told.lifecycle) == (128_000, "active")
    assert client.models.retrieve("claude-sonnet-4-5").lifecycle == "deprecated"
