"""When the last answers of a run stop it."""

from __future__ import annotations

import pytest

from convoforge.generation.recent_answers import LOOK_BACK, MIN_ACCEPTED, RecentAnswers
from convoforge.generation.run_state import RunState
from convoforge.models import Status

FEWEST = MIN_ACCEPTED * LOOK_BACK // 100


def add(recent: RecentAnswers, *, good: int = 0, bad: int = 0) -> list[str | None]:
    """Add accepted answers, each another conversation, then others that are not."""
    accepted = [recent.add((), f"{id(recent) + n:016x}") for n in range(good)]
    return [*accepted, *(recent.add(("too short",), None) for _ in range(bad))]


def test_a_run_with_fewer_answers_than_are_looked_at_is_not_judged() -> None:
    assert set(add(RecentAnswers(""), bad=LOOK_BACK - 1)) == {None}


@pytest.mark.parametrize(("good", "stops"), [(0, True), (FEWEST - 1, True), (FEWEST, False), (LOOK_BACK, False)])
def test_a_run_stops_where_fewer_than_a_fifth_of_its_last_answers_are_accepted(good: int, stops: bool) -> None:
    told = add(RecentAnswers(""), good=good, bad=LOOK_BACK - good)
    assert set(told[:-1]) <= {None}
    assert (told[-1] is not None) == stops


def test_only_the_last_answers_count() -> None:
    told = add(RecentAnswers(""), good=1_000, bad=LOOK_BACK)
    assert told.index(next(filter(None, told))) == 1_000 + LOOK_BACK - FEWEST


def test_the_reasons_that_most_answers_share_are_told_with_their_counts() -> None:
    recent = RecentAnswers("Look at them.")
    told = None
    for n in range(LOOK_BACK):
        reasons = ("score 5 is below 9", f"{n} turns; 8 to 16 are best") if n < 30 else ("the answer was cut off at max_tokens",)
        told = recent.add(reasons if n < 48 else (f"odd {n}\nand long {'x' * 500}",), None)
    assert told is not None
    assert told.startswith(
        "hardly anything is accepted, 0 of the last 50 answers: score 5 is below 9 (30); 0 turns; 8 to 16 are best (30); "
        "the answer was cut off at max_tokens (18). Look at them."
    )


def test_long_reasons_are_cut_to_a_line() -> None:
    recent = RecentAnswers("")
    told = [recent.add(("a\n" * 1_000,), None) for _ in range(LOOK_BACK)][-1]
    assert told is not None
    assert len(told.splitlines()) == 1
    assert len(told) < 400


def test_repetitions_are_not_accepted() -> None:
    told = [RecentAnswers("")] and None
    recent = RecentAnswers("")
    for _ in range(LOOK_BACK):
        told = recent.add((), "ab" * 32)
    assert told is not None
    assert "1 of the last 50 answers: the same conversation as another one (49)" in told


def test_repetitions_of_what_was_accepted_before_are_not_accepted() -> None:
    recent = RecentAnswers("")
    recent.know([None, *(bytes([n] * 32) for n in range(LOOK_BACK))])
    told = [recent.add((), f"{n:02x}" * 32) for n in range(LOOK_BACK)][-1]
    assert told is not None
    assert "0 of the last 50" in told


def test_a_copy_of_what_was_accepted_is_no_accepted_one_in_the_progress_either() -> None:
    recent = RecentAnswers("")
    recent.know([bytes.fromhex("ab" * 32)])
    control = RunState(recent=recent)
    assert control.count_answer(Status.ACCEPTED, (), "cd" * 32) is Status.ACCEPTED
    for known in ("ab" * 32, "cd" * 32):
        assert control.count_answer(Status.ACCEPTED, (), known) is Status.DROPPED
    assert control.count_answer(Status.NEEDS_REVISION, ("too short",), "ab" * 32) is Status.NEEDS_REVISION
    assert RunState().count_answer(Status.ACCEPTED, (), "ab" * 32) is Status.ACCEPTED


def test_a_run_is_looked_at_as_a_whole_once_near_duplicates_are_known() -> None:
    recent = RecentAnswers("Look at them.")
    assert recent.check_whole_run(0, LOOK_BACK - 1, 30) is None
    assert recent.check_whole_run(20, 100, 80) is None
    assert recent.check_whole_run(19, 100, 81) == (
        "hardly anything is accepted, 19 of the 100 answers of this run: 81 near-duplicates. Look at them."
    )
