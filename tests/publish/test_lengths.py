"""How long a conversation is in tokens, by its characters and their scripts, against what real tokenizers were seen to make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation
from convoforge.publish.lengths import count_tokens, estimate_tokens, recommend_length

COUNTED = yaml.safe_load((Path(__file__).parents[1] / "data" / "token_counts.yaml").read_text(encoding="utf-8"))
CHAT_TEMPLATE = 5
"""What ChatML puts around a turn."""

Talk = Callable[..., Conversation]


def test_the_estimate_of_tokens_counts_a_quarter_of_the_characters_and_four_a_turn(talk: Talk) -> None:
    assert count_tokens(talk("12345", "1234", system=None)) == 3 + 2 * 4
    assert count_tokens(talk("12345", "1234", system="1234")) == 4 + 3 * 4


@pytest.mark.parametrize(
    ("text", "tokens"), [("a—b’", 1), ("为什么", 5), ("да", 2), ("Übermäßig", 11), ("ok 👍", 3), ("\ud83d", 2)]
)
def test_other_scripts_count_more(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@pytest.mark.parametrize("language", COUNTED)
@pytest.mark.parametrize("times", [1, 7, 40])
def test_no_tokenizer_makes_more_of_a_language_than_is_advised(talk: Talk, language: str, times: int) -> None:
    one: dict[str, Any] = COUNTED[language]
    advised = recommend_length(count_tokens(talk(*one["turns"] * times, system=None)))
    real = max(one["tokens"].values()) * times + CHAT_TEMPLATE * len(one["turns"]) * times
    assert real <= advised
    assert advised < 3 * real + 256


@given(st.text(st.characters(max_codepoint=127)), st.text())
def test_ascii_is_a_quarter_and_no_text_is_less(plain: str, text: str) -> None:
    assert estimate_tokens(plain) == -(-len(plain) // 4)
    assert estimate_tokens(text) >= len(text) / 4


@pytest.mark.parametrize(("longest", "length"), [(1, 256), (204, 256), (205, 512), (4096, 5120)])
def test_the_recommended_length_leaves_a_quarter_of_room(longest: int, length: int) -> None:
    assert recommend_length(longest) == length
