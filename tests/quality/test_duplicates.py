"""The same conversation twice is found, whatever its spacing and capitals; the first one stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.quality import Drop, content_hash, first_of_each


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


def test_every_later_row_names_the_first_with_its_hash() -> None:
    rows = [(1, "a"), (2, "b"), (3, "a"), (4, "a"), (5, "b"), (6, "c")]
    assert list(first_of_each(rows)) == [Drop(3, 1, "duplicate"), Drop(4, 1, "duplicate"), Drop(5, 2, "duplicate")]


def test_rows_are_read_as_they_come() -> None:
    endless = ((n, "same") for n in range(10**12))
    assert next(first_of_each(endless)) == Drop(1, 0, "duplicate")


@given(st.lists(st.sampled_from("abcde")))
def test_one_row_of_each_hash_is_left(hashes: list[str]) -> None:
    drops = list(first_of_each(enumerate(hashes)))
    dropped = {drop.key for drop in drops}
    left = [fingerprint for key, fingerprint in enumerate(hashes) if key not in dropped]
    assert left == list(dict.fromkeys(hashes))
    assert all(drop.because_of < drop.key and hashes[drop.because_of] == hashes[drop.key] for drop in drops)
