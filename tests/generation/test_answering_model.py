"""Which model has answered: names for one model, names for two, and what an answer of another one costs."""

from __future__ import annotations

import pytest

from convoforge.generation.answering_model import describe_other_model, is_other_model, price_answered
from convoforge.pricing import price_of


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5", "Claude-Sonnet-4.5"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4.5"),
        ("claude-sonnet-4-5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5@20250929"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
        ("claude-opus-4-0", "claude-opus-4-20250514"),
        ("claude-sonnet-4-5", ""),
    ],
)
def test_an_alias_a_snapshot_and_a_cloud_s_name_are_one_model(asked: str, answered: str) -> None:
    assert not is_other_model(asked, answered)
    assert describe_other_model(asked, answered) is None


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("claude-sonnet-5-5", "claude-opus-5-5"),
        ("claude-sonnet-5-5", "claude-sonnet-5"),
        ("claude-sonnet-5-4", "claude-sonnet-4-5"),
        ("claude-sonnet-5-5", "claude-sonnet-5-5-fast"),
        ("claude-3-5-sonnet-20240620", "claude-3-5-sonnet-20241022"),
        ("my.model", "other.model"),
    ],
)
def test_another_name_or_another_date_is_another_model_and_is_told(asked: str, answered: str) -> None:
    assert is_other_model(asked, answered)
    said = describe_other_model(asked, answered) or ""
    assert asked in said and answered in said and "allow_other_model" in said


def test_an_answer_costs_what_its_model_costs_where_that_is_known() -> None:
    assert price_answered("claude-opus-5-5", batch=False) == price_of("claude-opus-5-5")
    assert price_answered("anthropic/claude-opus-5-5", batch=True) == price_of("claude-opus-5-5", batch=True)
    assert price_answered("house-model-7", batch=False) is None
