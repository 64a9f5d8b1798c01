"""What a spec says of thinking, and what each model is sent for it: as the migration guides and the SDK's types have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convoforge.errors import ConfigError
from convoforge.planning.config_files import check, read_yaml
from convoforge.planning.model_facts import snapshot_facts, snapshot_models
from convoforge.planning.spec import Generation, load_spec
from convoforge.planning.thinking import describe_thinking, takes_temperature, thinking_of

OFF = Generation()
ADAPTIVE = Generation(thinking="adaptive")
DISABLED = {"thinking": {"type": "disabled"}}


def sent(model: str, settings: Generation = OFF) -> dict[str, Any]:
    body: dict[str, Any] = {}
    thinking_of(snapshot_facts(model), settings).add_to(body)
    return body


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}}),
        ("claude-haiku-5-5", DISABLED),
        ("claude-sonnet-5", DISABLED),
        ("claude-opus-5", DISABLED),
        ("claude-opus-5-5", {"output_config": {"effort": "low"}}),
        ("claude-fable-5-2", {"output_config": {"effort": "low"}}),
        ("claude-fable-5", {"output_config": {"effort": "low"}}),
        ("claude-opus-4-8", {}),
        ("claude-opus-4-7", {}),
        ("claude-opus-4-6", {}),
        ("claude-sonnet-4-6", {}),
        ("claude-haiku-4-5", {}),
        ("claude-haiku-4-5-20251001", {}),
        ("claude-opus-4-5", {}),
        ("claude-sonnet-4-5", {}),
        ("llama-4-maverick", {}),
    ],
)
def test_off_is_told_to_each_model_in_its_own_way(model: str, body: dict[str, Any]) -> None:
    assert sent(model) == body


@pytest.mark.parametrize(
    "model", ["claude-sonnet-5-5", "claude-haiku-5-5", "claude-opus-5-5", "claude-opus-4-8", "claude-sonnet-4-6"]
)
def test_adaptive_is_told_alike(model: str) -> None:
    assert sent(model, ADAPTIVE) == {"thinking": {"type": "adaptive"}}
    settings = Generation(thinking="adaptive", effort="max")
    assert sent(model, settings) == {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}


def test_effort_is_sent_without_thinking_too() -> None:
    low = Generation(effort="low")
    assert sent("claude-sonnet-5-5", low) == {"thinking": {"type": "between_tools"}, "output_config": {"effort": "low"}}
    assert sent("claude-opus-4-8", low) == {"output_config": {"effort": "low"}}
    assert sent("claude-opus-5-5", Generation(effort="medium")) == {"output_config": {"effort": "medium"}}


def test_it_joins_what_else_the_output_is_to_be_like() -> None:
    body: dict[str, Any] = {"output_config": {"format": {"type": "json_schema"}}}
    thinking_of(snapshot_facts("claude-opus-5-5"), OFF).add_to(body)
    assert body == {"output_config": {"format": {"type": "json_schema"}, "effort": "low"}}


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        ("claude-haiku-4-5", ADAPTIVE, "takes no adaptive thinking"),
        ("claude-opus-4-5", ADAPTIVE, "takes no adaptive thinking"),
        ("claude-haiku-4-5", Generation(effort="low"), "takes none, not low"),
        ("claude-opus-4-6", Generation(effort="xhigh"), "takes low, medium, high, max, not xhigh"),
        ("claude-sonnet-5-5", Generation(effort="max"), "with thinking off .* takes low, medium, high, not max"),
        ("claude-haiku-5-5", Generation(effort="xhigh"), "with thinking off .* takes low, medium, high, not xhigh"),
    ],
)
def test_what_a_model_would_refuse_is_refused_before(model: str, settings: Generation, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        thinking_of(snapshot_facts(model), settings)


def test_a_model_that_nobody_knows_is_sent_what_the_spec_says_and_no_more() -> None:
    assert sent("llama-4-maverick", ADAPTIVE) == {"thinking": {"type": "adaptive"}}
    assert sent("llama-4-maverick", Generation(effort="max")) == {"output_config": {"effort": "max"}}


def test_no_temperature_goes_with_thinking() -> None:
    facts = snapshot_facts("claude-sonnet-4-6")
    assert takes_temperature(facts, OFF)
    assert not takes_temperature(facts, ADAPTIVE)
    assert not takes_temperature(snapshot_facts("claude-opus-4-7"), OFF)


def test_a_person_is_told_of_what_will_be_thought() -> None:
    assert describe_thinking(snapshot_facts("claude-sonnet-5-5"), OFF) is None
    assert describe_thinking(snapshot_facts("claude-haiku-4-5"), OFF) is None
    forced = describe_thinking(snapshot_facts("claude-opus-5-5"), OFF)
    assert forced is not None
    assert "cannot be kept from thinking: it thinks at effort low" in forced
    adaptive = describe_thinking(snapshot_facts("claude-sonnet-5-5"), ADAPTIVE)
    assert adaptive is not None
    assert "thinks at effort high" in adaptive


@pytest.mark.parametrize(
    ("written", "thinking"),
    [("off", "off"), ("no", "off"), ("'off'", "off"), ("false", "off"), ("Off", "off"), ("adaptive", "adaptive")],
)
def test_a_bare_off_is_off_whatever_yaml_makes_of_it(tmp_path: Path, written: str, thinking: str) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(f"thinking: {written}\neffort: null\n")
    settings = check(Generation, read_yaml(path))
    assert (settings.thinking, settings.effort) == (thinking, None)


@pytest.mark.parametrize("written", ["on", "true", "1", "enabled", "null", "low"])
def test_another_word_for_thinking_is_refused_with_what_there_is(tmp_path: Path, written: str) -> None:
    path = tmp_path / "spec.yaml"
    axes = "axes: {persona: [A], emotion: [B], topic: [C]}"
    path.write_text(f"name: a\nmodel: claude-sonnet-5-5\ntemplates: [advice]\n{axes}\ngeneration: {{thinking: {written}}}\n")
    with pytest.raises(ConfigError, match=r"generation\.thinking: .*'off'.*'adaptive'"):
        load_spec(path, tmp_path)


def test_the_snapshot_says_what_the_guides_say() -> None:
    minimum = {name: snapshot_facts(name).cache_minimum for name in snapshot_models()}
    assert {name: minimum[f"claude-{name}"] for name in ("opus-5", "opus-5-5", "sonnet-5-5", "haiku-5-5", "fable-5", "fable-5-1")} == {
        "opus-5": 512, "opus-5-5": 512, "sonnet-5-5": 512, "haiku-5-5": 512, "fable-5": 512, "fable-5-1": 512,
    }  # fmt: skip
    assert {name: minimum[f"claude-{name}"] for name in ("opus-4-8", "sonnet-4-5", "sonnet-4-6", "sonnet-5")} == dict.fromkeys(
        ("opus-4-8", "sonnet-4-5", "sonnet-4-6", "sonnet-5"), 1_024
    )
    assert (minimum["claude-opus-4-7"], minimum["claude-mythos-preview"]) == (2_048, 2_048)
    assert {minimum[f"claude-{name}"] for name in ("opus-4-5", "opus-4-6", "haiku-4-5")} == {4_096}


def test_the_snapshot_knows_every_model_that_the_sdk_names() -> None:
    from typing import get_args

    from anthropic._data import DEPRECATED_MODELS
    from anthropic.types.model import Model

    named = set(get_args(get_args(Model)[0]))
    assert named <= snapshot_models().keys()
    for name in DEPRECATED_MODELS:
        facts = snapshot_facts(name)
        assert facts.lifecycle == "deprecated"
        assert facts.retires_at is not None
        day = facts.retires_at
        assert f"{day:%B} {day.day}" in DEPRECATED_MODELS[name]
        assert f"{day:%Y}" in DEPRECATED_MODELS[name]
    for name in named - DEPRECATED_MODELS.keys():
        assert snapshot_facts(name).lifecycle == "active"
