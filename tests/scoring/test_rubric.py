"""The seed's rubric: 0–3 for the number of turns, 0–3 for their average length, 0–4 for alternation; 1 to 10 in all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Quality, Role, Turn
from convoforge.planning.quality import QualityRule
from convoforge.scoring import Rubric, ScoringContext
from convoforge.scoring.registry import find_scorers

RUBRIC = Rubric(find_scorers(QualityRule().scorers))


def score(conversation: Conversation) -> Quality:
    return RUBRIC.score(conversation, ScoringContext()).quality


def parts(quality: Quality) -> tuple[int, int, int]:
    turns, length, structure = (quality.points(name) for name in ("turns", "length", "structure"))
    assert turns is not None and length is not None and structure is not None
    return turns, length, structure


def conversation(n: int, characters: int = 200) -> Conversation:
    return Conversation(tuple(Turn("assistant" if i % 2 else "user", "x" * characters) for i in range(n)))


def test_a_good_conversation_scores_ten_without_reasons() -> None:
    quality = score(conversation(10))
    assert (quality.score, parts(quality), quality.reasons) == (10, (3, 3, 4), ())


@pytest.mark.parametrize(
    "n, points",
    [(0, 0), (1, 0), (3, 0), (4, 1), (5, 1), (6, 2), (7, 2), (8, 3), (16, 3), (17, 2), (20, 2), (21, 1), (100, 1)],
)
def test_turns_are_counted_with_inclusive_boundaries(n: int, points: int) -> None:
    assert score(conversation(n)).points("turns") == points


@pytest.mark.parametrize(
    "characters, points",
    [(0, 0), (19, 0), (20, 1), (49, 1), (50, 2), (99, 2), (100, 3), (400, 3), (401, 2), (600, 2), (601, 1), (9999, 1)],
)
def test_the_average_length_has_inclusive_boundaries(characters: int, points: int) -> None:
    assert score(conversation(8, characters)).points("length") == points


@pytest.mark.parametrize("missing, points, shown", [(0, 3, ""), (1, 2, "99 "), (-1, 3, "")])
def test_the_average_is_not_rounded_across_the_lower_boundary(missing: int, points: int, shown: str) -> None:
    turns = (*conversation(7, 100).turns, Turn("assistant", "x" * (100 - missing)))
    quality = score(Conversation(turns))
    assert quality.points("length") == points
    assert "".join(quality.reasons).startswith(shown)


def test_the_average_is_not_rounded_across_the_upper_boundary() -> None:
    turns = (*conversation(7, 400).turns, Turn("assistant", "x" * 401))
    assert score(Conversation(turns)).reasons == ("401 characters a turn on average; 100 to 400 are best",)


@pytest.mark.parametrize(
    "roles, reason",
    [
        (("user", "assistant", "user", "user"), "turn 4 is user after user"),
        (("assistant", "user"), "turn 1 is assistant but the first must be user"),
        ((), "0 turns; user and assistant must alternate"),
    ],
)
def test_roles_that_do_not_alternate_from_the_user_lose_all_of_structure(roles: tuple[Role, ...], reason: str) -> None:
    quality = score(Conversation(tuple(Turn(role, "x" * 200) for role in roles)))
    assert quality.points("structure") == 0
    assert quality.reasons[-1] == reason


def test_a_conversation_that_ends_with_the_user_still_alternates() -> None:
    assert score(conversation(9)).points("structure") == 4


def test_each_part_that_lost_points_gives_one_reason_with_the_number() -> None:
    assert score(conversation(5, 45)).reasons == (
        "5 turns; 8 to 16 are best",
        "45 characters a turn on average; 100 to 400 are best",
    )
    assert score(conversation(1)).reasons == ("1 turn; 8 to 16 are best",)


def test_nothing_scores_below_one() -> None:
    assert score(Conversation(())).score == 1


def test_the_system_turn_does_not_count() -> None:
    turns = conversation(10).turns
    assert score(Conversation(turns, "x" * 10_000)) == score(Conversation(turns))


turns = st.builds(Turn, st.sampled_from(["user", "assistant"]), st.text())


@given(st.lists(turns, max_size=30).map(lambda drawn: Conversation(tuple(drawn))))
def test_the_score_is_the_sum_of_its_parts_and_every_loss_has_a_reason(drawn: Conversation) -> None:
    quality = score(drawn)
    turns, length, structure = parts(quality)
    assert quality.score == max(1, turns + length + structure) <= 10
    assert len(quality.reasons) == (turns < 3) + (length < 3) + (structure < 4)
