"""What a model takes, by its name."""

from __future__ import annotations

import pytest

from convoforge.capabilities import takes_structured, takes_temperature, uses_schema
from convoforge.spec import Generation


@pytest.mark.parametrize(
    ("model", "structured", "temperature"),
    [
        ("claude-sonnet-5-5", True, False),
        ("claude-haiku-5-5", True, False),
        ("claude-opus-5-5", True, False),
        ("claude-fable-5-2", True, False),
        ("claude-mythos-5-2", True, False),
        ("claude-sonnet-5", True, False),
        ("claude-opus-4-8", True, False),
        ("claude-opus-4-7", True, False),
        ("claude-opus-4-6", True, True),
        ("claude-sonnet-4-6", True, True),
        ("claude-haiku-4-5", True, True),
        ("claude-haiku-4-5-20251001", True, True),
        ("claude-opus-4-1-20250805", True, True),
        ("claude-opus-4-20250514", False, True),
        ("claude-sonnet-4-20250514", False, True),
        ("claude-3-7-sonnet-20250219", False, True),
        ("claude-3-5-sonnet-20241022", False, True),
        ("claude-3-haiku-20240307", False, True),
        ("claude-2.1", False, False),
        ("claude-mythos-preview", False, False),
        ("claude-sonnet-10-1", True, False),
        ("llama-4-maverick", False, False),
        ("", False, False),
    ],
)
def test_a_name_says_what_a_model_takes(model: str, structured: bool, temperature: bool) -> None:
    assert takes_structured(model) is structured
    assert takes_temperature(model) is temperature


def test_a_schema_is_used_where_the_model_takes_one_and_the_spec_does_not_mind() -> None:
    assert uses_schema("claude-sonnet-5-5", Generation())
    assert not uses_schema("claude-sonnet-5-5", Generation(structured=False))
    assert not uses_schema("claude-3-5-sonnet-20241022", Generation())
