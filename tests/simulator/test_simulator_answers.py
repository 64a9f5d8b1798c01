"""The real SDK talks to the simulator and finds what it would find at the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest

from convoforge.parsing import parse_conversation
from convoforge.simulator.catalogue import MODELS
from convoforge.simulator.client import SimulatorControl

Ask = Callable[..., anthropic.types.Message]
Wanted = Callable[..., dict[str, Any]]
Connect = Callable[..., anthropic.Anthropic]

OFF = {"type": "between_tools"}


def test_a_structured_answer_is_the_conversation_and_nothing_else(ask: Ask) -> None:
    message = ask()
    turns = json.loads(text_of(message))["turns"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    assert message.stop_reason == "end_turn"
    assert message.model == "claude-sonnet-5-5"


def test_the_same_prompt_gets_the_same_answer_and_another_prompt_another(ask: Ask) -> None:
    assert text_of(ask(1)) == text_of(ask(1)) != text_of(ask(2))


def test_a_prompt_for_json_in_words_gets_json_and_every_fourth_time_a_fence_around_it(
    client: anthropic.Anthropic, wanted: Wanted
) -> None:
    texts = [text_of(client.messages.create(**wanted(variant, output_config={}))) for variant in range(60)]
    assert 5 <= sum("```json" in text for text in texts) <= 28
    assert all(len(parse_conversation(text).turns) >= 2 for text in texts)


def test_a_prompt_that_asks_for_no_conversation_gets_a_short_text(ask: Ask) -> None:
    greeting = {"system": "Be kind.", "messages": [{"role": "user", "content": "Hello!"}], "output_config": {}}
    assert 10 < len(text_of(ask(**greeting))) < 150


def test_max_tokens_cuts_an_answer_off(ask: Ask) -> None:
    message = ask(max_tokens=50, thinking=OFF)
    assert (message.stop_reason, message.usage.output_tokens, len(text_of(message))) == ("max_tokens", 50, 150)


def test_a_count_of_tokens_is_the_input_that_an_answer_is_billed_for(
    client: anthropic.Anthropic, ask: Ask, control: SimulatorControl, wanted: Wanted
) -> None:
    given = wanted()
    given.pop("max_tokens")
    assert client.messages.count_tokens(**given).input_tokens == ask().usage.input_tokens
    assert control.usage()["requests"] == 1


def test_usage_is_what_was_sent_and_received_at_three_characters_a_token(ask: Ask) -> None:
    system, prompt = "s" * 1001, "p" * 402
    message = ask(system=system, messages=[{"role": "user", "content": prompt}], output_config={}, thinking=OFF)
    assert message.usage.input_tokens == 468
    assert message.usage.output_tokens == -(-len(text_of(message)) // 3)
    assert message.usage.service_tier == "standard"


def test_every_answer_is_signed_and_has_an_id_and_errors_too(
    client: anthropic.Anthropic, control: SimulatorControl, wanted: Wanted
) -> None:
    answers: list[Any] = [
        client.messages.with_raw_response.create(**wanted()).http_response,
        client.models.with_raw_response.retrieve("claude-sonnet-5-5").http_response,
        httpx2.get(f"{control.url}/nowhere"),
        httpx2.get(f"{control.url}/v1/messages"),
    ]
    control.script("529")
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**wanted())
    answers.append(caught.value.response)
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404, 529]
    assert {answer.headers["x-convoforge-simulator"] for answer in answers} == {"1"}
    ids = [answer.headers["request-id"] for answer in answers]
    assert len(set(ids)) == 5
    assert all(name.startswith("req_sim_") for name in ids)
    assert caught.value.body["request_id"] == ids[-1]  # type: ignore[index]


def test_the_catalogue_tells_what_each_model_takes(client: anthropic.Anthropic) -> None:
    for name in MODELS:
        model = client.models.retrieve(name)
        assert model.id == name
        assert model.capabilities is not None
        assert model.capabilities.structured_outputs.supported == MODELS[name].structured
        assert model.lifecycle == MODELS[name].lifecycle
        assert (model.max_tokens, model.max_input_tokens) == (MODELS[name].max_tokens, MODELS[name].max_input_tokens)
        assert model.created_at.tzinfo is not None
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.models.retrieve("claude-sonnet-9")
    assert caught.value.type == "not_found_error"


@pytest.mark.parametrize("key", ["sk-sim-wrong", "sk-sim-wrong-2"])
def test_a_wrong_key_is_refused_everywhere(control: SimulatorControl, key: str, wanted: Wanted, connect: Connect) -> None:
    with connect(control.url, key) as client:
        for call in (
            lambda: client.messages.create(**wanted()),
            lambda: client.models.retrieve("claude-haiku-5-5"),
        ):
            with pytest.raises(anthropic.AuthenticationError):
                call()


def test_no_key_is_refused_and_either_header_carries_one(control: SimulatorControl) -> None:
    body = json.dumps({"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
    headers = {"anthropic-version": "2026-10-21"}

    def status(**more: str) -> int:
        return httpx2.post(f"{control.url}/v1/messages", content=body, headers=headers | more).status_code

    assert status() == 401
    assert status(authorization="Bearer sk-sim-a") == 200
    assert status(**{"x-api-key": "sk-sim-a"}) == 200


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")
