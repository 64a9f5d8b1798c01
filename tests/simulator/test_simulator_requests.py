"""What the API refuses, the simulator refuses; what the API caches, it caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.simulator.caching import SimulatedCache
from convoforge.simulator.catalogue import MODELS
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.faults import ApiError
from convoforge.simulator.reading import InputBlock, ParsedRequest, read_request

Ask = Callable[..., anthropic.types.Message]
Wanted = Callable[..., dict[str, Any]]

OLD = {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"extra_body": {"temperature": 0.7}}, "temperature: Extra inputs are not permitted"),
        ({"extra_body": {"top_p": 0.7}}, "top_p: Extra inputs are not permitted"),
        ({"extra_body": {"top_k": 5}}, "top_k: Extra inputs are not permitted"),
        ({"extra_body": {"temperature": 0.7}, "extra_headers": OLD}, "temperature: may only be left at its default"),
        ({"extra_body": {"humour": 1}}, "humour: Extra inputs"),
        ({"extra_body": {"max_tokens": None}}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"extra_body": {"max_tokens": 900_000}}, "maximum allowed number of output tokens"),
        ({"extra_headers": {"anthropic-version": ""}}, "anthropic-version: header is required"),
        ({"extra_headers": {"anthropic-version": "1999-01-01"}}, "1999-01-01"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "friend", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "text content blocks must be non-empty"),
        (
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "{"}]},
            "does not support assistant message prefill",
        ),
        ({"messages": [{"role": "user", "content": "x" * 4_000_001}]}, "prompt is too long"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        (
            {"system": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
            "cache_control",
        ),
        ({"extra_body": {"stream": True}}, "does not stream"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "only the schema of conversations",
        ),
    ],
)
def test_a_request_the_api_would_refuse_is_refused_with_its_words(
    ask: Ask, control: SimulatorControl, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=said) as caught:
        ask(**changes)
    assert caught.value.type == "invalid_request_error"
    usage = control.usage()
    assert usage["outcomes"] == {"400": 1}
    assert usage["billed_delivered"]["requests"] == usage["billed_undelivered"]["requests"] == 0


def test_older_models_take_a_temperature_in_the_older_version_only(ask: Ask) -> None:
    warm = {"model": "claude-sonnet-4-6", "extra_body": {"temperature": 0.7}}
    assert ask(**warm, extra_headers=OLD).stop_reason == "end_turn"
    with pytest.raises(anthropic.BadRequestError, match="Extra inputs"):
        ask(**warm)
    with pytest.raises(anthropic.BadRequestError, match="between 0 and 1"):
        ask(model="claude-sonnet-4-6", extra_body={"temperature": 2}, extra_headers=OLD)


@pytest.mark.filterwarnings("ignore:The model 'claude-mythos-preview' is deprecated")
def test_a_model_without_structured_output_refuses_a_schema(ask: Ask) -> None:
    with pytest.raises(anthropic.BadRequestError, match="structured outputs are not supported"):
        ask(model="claude-mythos-preview")


@pytest.mark.parametrize("model", ["claude-sonnet-9", "claude-sonnet-4-20250514"])
def test_a_model_that_is_unknown_or_retired_is_not_found(ask: Ask, model: str) -> None:
    with pytest.raises(anthropic.NotFoundError, match=f"model: {model}"):
        ask(model=model)


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), lambda part: st.lists(part) | st.dictionaries(st.text(), part))
)
def test_whatever_arrives_is_read_or_refused_and_never_breaks_the_server(body: Any) -> None:
    import json

    raw = (
        body
        if isinstance(body, bytes)
        else json.dumps({"model": "claude-sonnet-5-5", "max_tokens": 1, "messages": body}).encode()
    )
    try:
        assert read_request(raw, "2026-10-21").input_tokens > 0
    except ApiError as error:
        assert error.status in (400, 404)


@pytest.mark.parametrize("field", ["system", "tools", "output_config", "thinking", "cache_control", "stream"])
@pytest.mark.parametrize(
    "value", [7, "text", [3], [{"type": "text"}], {"type": 1}, {"format": 3}, {"format": {"type": "json_schema"}}]
)
def test_a_field_of_the_wrong_shape_is_refused_and_never_breaks_the_server(field: str, value: Any) -> None:
    import json

    body = {"model": "claude-sonnet-5-5", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}], field: value}
    try:
        read_request(json.dumps(body).encode(), "2026-10-21")
    except ApiError as error:
        assert error.status == 400


def test_a_system_prompt_is_written_to_the_cache_once_and_read_from_then_on(ask: Ask) -> None:
    system = [{"type": "text", "text": "Guidance. " * 300, "cache_control": {"type": "ephemeral"}}]
    first, second = ask(1, system=system), ask(2, system=system)
    assert first.usage.cache_creation is not None
    assert first.usage.cache_creation_input_tokens == first.usage.cache_creation.ephemeral_5m_input_tokens > 750
    assert first.usage.cache_read_input_tokens == second.usage.cache_creation_input_tokens == 0
    assert second.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens
    assert second.usage.input_tokens == first.usage.input_tokens < 100


@pytest.mark.parametrize(("model", "least"), [("claude-sonnet-5-5", 512), ("claude-sonnet-4-6", 1024)])
def test_below_the_models_minimum_nothing_is_cached(ask: Ask, model: str, least: int) -> None:
    def written(characters: int) -> int | None:
        block = {"type": "text", "text": "x" * characters, "cache_control": {"type": "ephemeral"}}
        return ask(model=model, system=[block], output_config={}).usage.cache_creation_input_tokens

    each = 4 if model == "claude-sonnet-4-6" else 3  # the tokenizer since Opus 4.7 gives a third more tokens
    assert written(each * (least - 1)) == 0
    assert written(each * least) == least


def test_a_cache_entry_is_readable_once_the_first_answer_begins_until_its_time_is_over() -> None:
    cache = SimulatedCache()
    asked = asked_of(InputBlock("s" * 3000, cached=True), InputBlock("u" * 30))
    first = cache.read(asked, 0.0)
    assert (first.usage.cache_write_5m_tokens, first.usage.input_tokens) == (1000, 10)
    assert cache.read(asked, 1.0).usage.cache_read_tokens == 0
    cache.keep(first.writes, 2.0)
    assert cache.read(asked, 301.0).usage.cache_read_tokens == 1000
    assert cache.read(asked, 600.0).usage.cache_read_tokens == 1000  # a reading prolongs it
    assert cache.read(asked, 901.0).usage.cache_read_tokens == 0


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 4000), st.booleans()), min_size=1, max_size=6),
        max_size=8,
    )
)
def test_read_written_and_plain_tokens_always_add_up_to_the_input(requests: list[list[tuple[str, int, bool]]]) -> None:
    cache = SimulatedCache()
    for now, blocks in enumerate(requests):
        asked = asked_of(*(InputBlock(letter * length, cached) for letter, length, cached in blocks))
        reading = cache.read(asked, float(now))
        cache.keep(reading.writes, float(now))
        usage = reading.usage
        parts = (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens)
        assert min(parts) >= 0
        assert sum(parts) == asked.input_tokens == asked.model.count_tokens(sum(length for _, length, _ in blocks))


def asked_of(*blocks: InputBlock) -> ParsedRequest:
    return ParsedRequest(MODELS["claude-sonnet-5-5"], "", 0, blocks, 1)


def test_the_request_used_in_these_tests_is_sound(ask: Ask, wanted: Wanted) -> None:
    assert ask(**wanted()).stop_reason == "end_turn"
