"""The same conversation twice is found, whatever its spacing and capitals."""

from __future__ import annotations

import pytest

from convoforge.models import Conversation, Turn
from convoforge.scoring import content_hash


def conversation(*contents: str, system: str | None = None) -> Conversation:
    return Conversation(tuple(Turn("assistant" if i % 2 else "user", c) for i, c in enumerate(contents)), system)


BASE = conversation("Should I sell?", "No. Wait a week.")


@pytest.mark.parametrize(
    "same",
    [
        conversation("should I SELL?", "no. wait a week."),
        conversation("Should  I\nsell?", "\tNo. Wait\u00a0a week. "),
        conversation("Should I sell?", "No. Wait a week.", system="Be kind."),
    ],
)
def test_case_whitespace_and_the_system_turn_do_not_make_a_difference(same: Conversation) -> None:
    assert content_hash(same) == content_hash(BASE)


@pytest.mark.parametrize(
    "other",
    [
        conversation("Should I sell?", "No. Wait a week!"),
        conversation("Should I sell? No. Wait a week."),
        conversation("Should I sell? No.", "Wait a week."),
        conversation("Should I sell?", "No. Waita week."),
        conversation("Should I sell? assistant No. Wait a week."),
        conversation("Should I sell?\nassistant No. Wait a week."),
        Conversation((Turn("assistant", "Should I sell?"), Turn("user", "No. Wait a week."))),
        Conversation(()),
    ],
)
def test_words_roles_and_where_a_turn_ends_make_a_difference(other: Conversation) -> None:
    assert content_hash(other) != content_hash(BASE)


def test_the_hash_never_changes_between_releases() -> None:
    """It is stored: another value would let every held conversation in again."""
    assert content_hash(BASE) == "a8de0d3ce6e822b118b8de115cb1241c16ab6903cffc8e53b3959bf0477772bf"
