"""What waits for a judge is neither accepted nor replaced, and no more is judged than is needed."""

from __future__ import annotations

from dataclasses import replace

from convoforge.dataset.acceptance import NO_NEIGHBORS, DatasetStatus, Neighbor, Neighbors, assess
from convoforge.models import Status
from convoforge.planning.draws import Draw

WAITING = Draw(
    1, "a", 0, "held", kind="ok", score=8, content_hash=b"1", reason="judge: no judge has read it yet", rejection="unjudged"
)


def look(*draws: Draw, per_cell: int = 1, near: Neighbors = NO_NEIGHBORS) -> DatasetStatus:
    return assess(["a", "b"], draws, min_score=6, per_cell=per_cell, max_draws=3, near=near)


def asked(status: DatasetStatus) -> list[int]:
    return [draw.request_id for draw in status.to_judge]


def test_it_is_unknown_until_a_judge_has_read_it() -> None:
    status = look(WAITING)
    assert (status.accepted, status.rejected, status.unscored, asked(status)) == ((), (), 0, [1])
    assert status.to_request == (("b", 0),), "nothing is generated in its place"
    assert status.summary.unjudged == 1
    assert look(replace(WAITING, rejection=None)).accepted[0].request_id == 1
    rejected = look(replace(WAITING, rejection="revise", reason="judge.talk: 2 of 5 points"))
    assert (rejected.rejected[0].status, rejected.rejected[0].reason) == (Status.NEEDS_REVISION, "judge.talk: 2 of 5 points")
    assert ("a", 1) in rejected.to_request, "another draw takes its place"


def test_what_is_rejected_or_reviewed_anyway_is_not_judged() -> None:
    assert asked(look(replace(WAITING, score=5))) == []
    assert look(replace(WAITING, score=5)).rejected[0].reason == "score 5 is below 6"
    for decision in ("accept", "reject", "revise"):
        assert asked(look(replace(WAITING, decision=decision))) == []
    assert [draw.request_id for draw in look(replace(WAITING, decision="accept")).accepted] == [1]


def test_of_equal_conversations_only_the_first_is_judged() -> None:
    twin = replace(WAITING, request_id=2, cell="b")
    status = look(WAITING, twin)
    assert asked(status) == [1]
    assert status.to_request == ()
    assert look(replace(WAITING, rejection=None), twin).rejected[0].status is Status.DROPPED
    assert asked(look(replace(WAITING, rejection="drop"), twin)) == [2]


def test_of_near_copies_only_the_first_is_judged_and_the_next_one_if_that_is_rejected() -> None:
    copy, other = (replace(WAITING, request_id=n, cell="b", draw=n, content_hash=bytes([n])) for n in (2, 3))
    near = Neighbors({1: [Neighbor(2, 0.7)], 2: [Neighbor(1, 0.7)]})
    status = look(WAITING, copy, other, per_cell=3, near=near)
    assert (asked(status), status.unscored) == ([1, 3], 0)
    assert look(WAITING, copy, per_cell=1, near=near).to_request == (), "nothing is generated in its place"
    assert look(replace(WAITING, rejection=None), copy, near=near).rejected[0].status is Status.DROPPED
    assert asked(look(replace(WAITING, rejection="revise"), copy, near=near)) == [2]


def test_no_more_are_judged_than_a_cell_wants() -> None:
    others = [replace(WAITING, request_id=2 + n, draw=1 + n, content_hash=bytes([n])) for n in range(2)]
    assert asked(look(WAITING, *others)) == [1]
    assert asked(look(WAITING, *others, per_cell=2)) == [1, 2]
    assert asked(look(replace(WAITING, rejection="drop"), *others)) == [2]
    assert asked(look(replace(WAITING, rejection=None), *others)) == []
