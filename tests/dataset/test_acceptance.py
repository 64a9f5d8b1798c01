"""Which draws are accepted, and which are asked for next: whatever fails on the way, and in whatever order answers arrive."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from convoforge.dataset.acceptance import DatasetStatus, Neighbor, Neighbors, assess
from convoforge.models import Status
from convoforge.planning.draws import Draw

# What a model answers to a draw: a score and a content, an answer that is no conversation, or a refusal of the API.


@dataclass(frozen=True)
class Answer:
    kind: str | None = "ok"
    score: int | None = 8
    content: str = ""


answers = st.one_of(
    st.builds(Answer, score=st.sampled_from([4, 6, 8]), content=st.sampled_from("abcd")),
    st.builds(Answer, score=st.sampled_from([4, 6, 8]), content=st.uuids().map(str)),
    st.builds(Answer, kind=st.sampled_from(["parse_error", "invalid", "truncated", "refused"]), score=st.none()),
    st.just(Answer(kind=None, score=None)),
)


@dataclass(frozen=True)
class World:
    """A dataset to build and a model that always answers a draw alike. `alike` are pairs of its answers that resemble each other,
    `elsewhere` answers that resemble what another dataset has published."""

    cells: tuple[str, ...]
    per_cell: int
    max_draws: int
    min_score: int
    table: tuple[tuple[Answer, ...], ...]
    alike: frozenset[tuple[tuple[str, int], tuple[str, int]]] = frozenset()
    elsewhere: frozenset[tuple[str, int]] = frozenset()

    def answer(self, cell: str, draw: int) -> Answer:
        return self.table[self.cells.index(cell)][draw]

    def assess(self, rows: Iterable[Draw]) -> DatasetStatus:
        rows = list(rows)
        near = self.neighbors({(row.cell, row.draw): row.request_id for row in rows})
        return assess(self.cells, rows, min_score=self.min_score, per_cell=self.per_cell, max_draws=self.max_draws, near=near)

    def neighbors(self, ids: Mapping[tuple[str, int], int]) -> Neighbors:
        of: dict[int, list[Neighbor]] = {}
        for one, other in (both for pair in self.alike for both in (pair, pair[::-1]) if {*pair} <= ids.keys()):
            of.setdefault(ids[one], []).append(Neighbor(ids[other], 0.7))
        for place in self.elsewhere & ids.keys():
            of.setdefault(ids[place], []).append(Neighbor(-1, 0.8, "x of dataset 'other'"))
        return Neighbors(of)


@st.composite
def worlds(draw: st.DrawFn, most_cells: int = 5) -> World:
    cells, per_cell, max_draws = draw(st.integers(1, most_cells)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    row = st.lists(answers, min_size=per_cell * max_draws, max_size=per_cell * max_draws).map(tuple)
    table = tuple(draw(row) for _ in range(cells))
    names = tuple(f"cell{n}" for n in range(cells))
    places = st.tuples(st.sampled_from(names), st.integers(0, per_cell * max_draws - 1))
    pairs = draw(st.frozensets(st.tuples(places, places).filter(lambda pair: pair[0] != pair[1]), max_size=8))
    elsewhere = draw(st.frozensets(places, max_size=2))
    return World(names, per_cell, max_draws, draw(st.sampled_from([4, 5, 7])), table, pairs, elsewhere)


class Killed(Exception):
    pass


@dataclass
class Ledger:
    rows: dict[tuple[str, int], Draw] = field(default_factory=dict)
    calls: Counter[tuple[str, int]] = field(default_factory=Counter)

    def published(self, world: World) -> list[tuple[str, int]]:
        return [(row.cell, row.draw) for row in world.assess(self.rows.values()).accepted]


def build(world: World, ledger: Ledger, rng: random.Random, *, failing: float = 0.0, killing: float = 0.0) -> DatasetStatus:
    """One run as the flow makes it: rounds, one last pass over what failed in transport. Ends early where it is killed."""
    tried: set[tuple[str, int]] = set()
    last_pass = False
    for _ in range(1_000):
        rows = list(ledger.rows.values())
        rng.shuffle(rows)
        status = world.assess(rows)
        check(world, ledger, status)
        for cell, number in status.to_request:
            ledger.rows[cell, number] = Draw(len(ledger.rows), cell, number, "pending")
        if status.to_request:
            continue
        todo = [row for row in status.pending if (row.cell, row.draw) not in tried]
        if not todo:
            if last_pass or not status.pending:
                return status
            last_pass, tried = True, set()
            continue
        rng.shuffle(todo)
        for row in todo:
            place = row.cell, row.draw
            tried.add(place)
            if rng.random() < killing:
                ledger.rows[place] = replace(row, state="claimed")
                raise Killed
            if rng.random() < failing:
                continue
            ledger.calls[place] += 1
            ledger.rows[place] = answered(row, world.answer(*place))
    raise AssertionError("the run does not end")


def answered(row: Draw, answer: Answer) -> Draw:
    if answer.kind is None:
        return replace(row, state="failed", reason="400")
    content = f"hash of {answer.content}".encode() if answer.kind == "ok" else None
    return replace(row, state="held", fingerprint=b"s", kind=answer.kind, score=answer.score, content_hash=content)


def check(world: World, ledger: Ledger, status: DatasetStatus) -> None:
    """What holds at every moment of every run."""
    most = world.per_cell * world.max_draws
    used = Counter(cell for cell, _ in ledger.rows)
    asked = Counter(cell for cell, _ in status.to_request)
    accepted = Counter(row.cell for row in status.accepted)
    pending = Counter(row.cell for row in status.pending)
    for cell in world.cells:
        assert used[cell] + asked[cell] <= most
        assert accepted[cell] + pending[cell] + asked[cell] <= world.per_cell
        refused = any(row.state == "failed" for row in ledger.rows.values() if row.cell == cell)
        out_of_draws = used[cell] == most and accepted[cell] + pending[cell] < world.per_cell and not refused
        assert (cell in status.exhausted) is out_of_draws
    assert not set(status.to_request) & set(ledger.rows)
    hashes = [row.content_hash for row in status.accepted]
    assert len(set(hashes)) == len(hashes)
    places = {(row.cell, row.draw) for row in status.accepted}
    assert not places & world.elsewhere
    assert not any({*pair} <= places for pair in world.alike)


def undisturbed(world: World) -> tuple[Ledger, DatasetStatus]:
    ledger = Ledger()
    return ledger, build(world, ledger, random.Random(0))


@settings(max_examples=200, deadline=None)
@given(worlds(), st.integers(0, 2**32), st.sampled_from([0.1, 0.4, 0.8]), st.sampled_from([0.0, 0.05, 0.3]), st.integers(0, 8))
def test_the_accepted_set_is_the_same_whatever_failed_on_the_way(
    world: World, seed: int, failing: float, killing: float, disturbed_runs: int
) -> None:
    calm, status = undisturbed(world)
    rng, ledger = random.Random(seed), Ledger()
    for _ in range(disturbed_runs):
        try:
            build(world, ledger, rng, failing=failing, killing=killing)
        except Killed:
            pass
    end = build(world, ledger, rng)
    assert ledger.published(world) == calm.published(world)
    assert ledger.rows.keys() == calm.rows.keys()
    assert set(end.exhausted) == set(status.exhausted)
    assert set(ledger.calls.values()) <= {1}
    assert not end.pending
    assert not end.to_request


@settings(deadline=None)
@given(worlds(), st.integers(0, 2**32))
def test_the_order_in_which_draws_are_read_does_not_matter(world: World, seed: int) -> None:
    rng, ledger = random.Random(seed), Ledger()
    try:
        build(world, ledger, rng, failing=0.3, killing=0.1)
    except Killed:
        pass
    rows = list(ledger.rows.values())
    first = world.assess(rows)
    rng.shuffle(rows)
    assert world.assess(rows) == first
    assert world.assess([*rows, Draw(99, "of no cell", 0, "held", b"s", "ok", 9, b"h")]) == first


@settings(max_examples=200, deadline=None)
@given(worlds(), st.integers(0, 2**32), st.sampled_from([4, 5, 7, 9]))
def test_another_threshold_and_back_restores_what_was_published(world: World, seed: int, other: int) -> None:
    rng = random.Random(seed)
    ledger, before = undisturbed(world)
    published = ledger.published(world)
    for _ in range(3):
        try:
            build(replace(world, min_score=other), ledger, rng, failing=0.3, killing=0.1)
        except Killed:
            pass
    calls = ledger.calls.total()
    after = build(world, ledger, rng)
    assert ledger.published(world) == published
    assert after.exhausted == before.exhausted
    assert ledger.calls.total() == calls


@settings(deadline=None)
@given(worlds(), st.integers(0, 2**32))
def test_fewer_wanted_and_back_restores_what_was_published(world: World, seed: int) -> None:
    ledger, _ = undisturbed(world)
    published = ledger.published(world)
    fewer = replace(world, per_cell=1, max_draws=world.max_draws)
    status = fewer.assess(ledger.rows.values())
    assert all(number == 1 for number in Counter(row.cell for row in status.accepted).values())
    build(world, ledger, random.Random(seed))
    assert ledger.published(world) == published


@settings(deadline=None)
@given(worlds(), st.integers(0, 2**32))
def test_a_verdict_depends_only_on_draws_that_come_before(world: World, seed: int) -> None:
    ledger, whole = undisturbed(world)
    rows = sorted(ledger.rows.values(), key=lambda row: (row.draw, world.cells.index(row.cell)))
    kept = rows[: random.Random(seed).randint(0, len(rows))]
    part = world.assess(kept)
    assert set(part.accepted) == set(whole.accepted) & set(kept)
    assert set(part.rejected) == {verdict for verdict in whole.rejected if verdict.draw in set(kept)}


@settings(deadline=None)
@given(worlds(), st.data())
def test_a_review_wins_over_score_and_duplicates(world: World, data: st.DataObject) -> None:
    ledger, _ = undisturbed(world)
    decisions = st.sampled_from([None, None, "accept", "edit", "reject", "revise"])
    for place, row in ledger.rows.items():
        ledger.rows[place] = replace(row, decision=data.draw(decisions))
    status = world.assess(ledger.rows.values())
    published, beside = set(status.accepted), {verdict.draw: verdict for verdict in status.rejected}
    accepted = Counter(row.cell for row in published)
    for row in ledger.rows.values():
        if row.kind != "ok":
            assert row not in published
        elif row.decision in ("accept", "edit"):
            assert row not in beside
            assert row in published or accepted[row.cell] == world.per_cell
        elif row.decision == "reject":
            assert (beside[row].status, beside[row].reason) == (Status.DROPPED, "rejected in review")
        elif row.decision == "revise":
            assert (beside[row].status, beside[row].reason) == (Status.NEEDS_REVISION, "sent back in review")
    assert all(number <= world.per_cell for number in accepted.values())


ids = count()


def held(cell: str, draw: int, score: int | None = 8, content: str | None = None, **more: str) -> Draw:
    """A draw with a conversation, by default a good one that is like no other."""
    number = next(ids)
    return Draw(number, cell, draw, more.pop("state", "held"), b"s", "ok", score, (content or f"hash {number}").encode(), **more)


def status_of(cells: str, *rows: Draw, per_cell: int = 1, max_draws: int = 3, min_score: int = 6) -> DatasetStatus:
    return assess(list(cells), rows, min_score=min_score, per_cell=per_cell, max_draws=max_draws)


def why(status: DatasetStatus) -> list[tuple[str, str]]:
    return [(str(verdict.status), verdict.reason) for verdict in status.rejected]


def test_nothing_held_means_everything_is_asked_for() -> None:
    status = status_of("ab", per_cell=2)
    assert status.to_request == (("a", 0), ("b", 0), ("a", 1), ("b", 1))
    assert (status.accepted, status.pending, status.exhausted) == ((), (), ())


def test_a_draw_that_is_not_good_enough_is_kept_for_revision_and_another_is_asked_for() -> None:
    status = status_of("a", held("a", 0, score=5))
    assert why(status) == [("needs_revision", "score 5 is below 6")]
    assert status.to_request == (("a", 1),)
    assert not status_of("a", held("a", 0, score=6)).to_request


def test_the_later_of_two_equal_conversations_is_dropped_and_says_which_it_repeats() -> None:
    first, second = held("b", 0, content="same"), held("a", 1, content="same")
    status = status_of("ab", held("a", 0, score=1), first, second)
    assert status.accepted == (first,)
    assert ("dropped", f"duplicate of conversation {first.conversation_id}") in why(status)
    assert status.to_request == (("a", 2),)


def test_a_near_duplicate_is_dropped_for_an_accepted_one_before_it_or_a_published_one_outside_of_the_plan() -> None:
    first, later, third = held("a", 0), held("b", 0), held("c", 0)

    def of(*pairs: tuple[Draw, Draw], **more: Any) -> Neighbors:
        both = [*pairs, *((other, one) for one, other in pairs)]
        return Neighbors(
            {one.request_id: [Neighbor(o.request_id, 0.712, "x") for n, o in both if n is one] for one, _ in both}, **more
        )

    def status(near: Neighbors, *rows: Draw, cells: str = "abc") -> DatasetStatus:
        return assess(list(cells), rows or (first, later, third), min_score=6, per_cell=1, max_draws=3, near=near)

    chain = of((first, later), (later, third))
    assert status(chain).accepted == (first, third)
    [(said, words)] = why(status(chain))
    assert (said, words) == ("dropped", f"near-duplicate of conversation {first.conversation_id} (0.71 alike)")
    assert status(chain).to_request == (("b", 1),)
    assert why(status(replace(chain, status=Status.NEEDS_REVISION)))[0][0] == "needs_revision"
    # not for one that is not accepted itself; not against a review's word; for a published one once it is out of the plan
    assert later in status(chain, replace(first, decision="reject"), later, third).accepted
    assert status(chain, first, replace(later, decision="accept"), third).accepted == (first, replace(later, decision="accept"))
    assert why(status(chain, cells="bc"))[0][1] == "near-duplicate of conversation x (0.71 alike)"
    alike = {first.request_id: 0.9, later.request_id: 0.6}
    back = {one: [Neighbor(third.request_id, share)] for one, share in alike.items()}
    both = Neighbors({**back, third.request_id: [Neighbor(one, share) for one, share in alike.items()]})
    assert why(status(both))[0][1] == f"near-duplicate of conversation {first.conversation_id} (0.90 alike)", "the nearest"
    waiting = status(of((first, later), unknown={third.request_id}))
    reviewed = replace(third, decision="accept")
    assert reviewed in status(of((first, later), unknown={third.request_id}), first, later, reviewed).accepted, (
        "it waits for nothing"
    )
    assert (waiting.unscored, waiting.accepted) == (1, (first,))


def test_nothing_is_dropped_for_repeating_a_conversation_that_is_not_published() -> None:
    twin = held("b", 1, content="same")
    for other in (
        held("a", 0, score=5, content="same"),
        held("a", 0, content="same", decision="reject"),
        held("a", 0, content="same", decision="revise"),
    ):
        assert twin in status_of("ab", other, held("b", 0, score=1), twin).accepted
    reserve = held("a", 1, content="same")
    status = status_of("ab", held("a", 0), reserve, held("b", 0, score=1), twin)
    assert twin in status.accepted
    assert reserve not in status.accepted
    assert reserve not in [verdict.draw for verdict in status.rejected]


def test_a_review_accepts_what_is_poor_or_repeats() -> None:
    poor, twin = held("a", 0, score=1, decision="accept"), held("b", 0, content="same", decision="accept")
    first = held("a", 1, content="same")
    assert status_of("a", poor).accepted == (poor,)
    status = status_of("ab", held("a", 0, score=1), twin, first)
    assert status.accepted == (twin,)
    assert why(status)[-1] == ("dropped", f"duplicate of conversation {twin.conversation_id}")
    assert status_of("ab", held("a", 0, content="same"), twin).accepted[-1] == twin


def test_what_uses_up_a_draw_and_what_does_not() -> None:
    for used in (
        Draw(1, "a", 0, "held", b"s", "parse_error", reason="no JSON"),
        Draw(1, "a", 0, "held", b"s", "refused"),
        held("a", 0, score=1),
    ):
        assert status_of("a", used).to_request == (("a", 1),)
        assert status_of("a", used, max_draws=1).exhausted == ("a",)
        assert status_of("a", used, max_draws=1).to_request == ()
    for open_ in (Draw(1, "a", 0, "pending"), Draw(1, "a", 0, "pending", reason="time-out"), Draw(1, "a", 0, "claimed")):
        status = status_of("a", open_, max_draws=1)
        assert (status.to_request, status.exhausted, status.pending) == ((), (), (open_,))


def test_a_refusal_is_replaced_while_there_are_draws_and_never_makes_a_cell_exhausted() -> None:
    refused = Draw(1, "a", 0, "failed", reason="400: too long")
    assert status_of("a", refused).to_request == (("a", 1),)
    assert status_of("a", refused).refused == (refused,)
    last = status_of("a", refused, max_draws=1)
    assert (last.to_request, last.exhausted, last.pending, last.refused) == ((), (), (), (refused,))
    assert (last.summary.refused, last.summary.why_refused) == (1, "400: too long")
    mixed = status_of("a", refused, held("a", 1, score=1), held("a", 2, score=1))
    assert (mixed.exhausted, mixed.refused) == ((), (refused,))
    assert status_of("a", refused, held("a", 1)).refused == ()  # the cell has what it wants


def test_a_reason_says_what_became_of_a_draw() -> None:
    rows = [
        Draw(1, "a", 0, "held", b"s", "parse_error", reason="no JSON"),
        Draw(2, "b", 0, "held", b"s", "refused"),
        Draw(3, "c", 0, "failed", reason="400: too long"),
        Draw(4, "d", 0, "failed"),
    ]
    assert why(status_of("abcd", *rows)) == [
        ("dropped", "parse_error: no JSON"),
        ("dropped", "refused: no conversation"),
        ("failed", "400: too long"),
        ("failed", "the API refused the request"),
    ]


def test_an_answer_without_a_score_is_neither_accepted_nor_asked_for_again() -> None:
    status = status_of("a", held("a", 0, score=None))
    assert (status.unscored, status.to_request, status.accepted, status.pending) == (1, (), (), ())


def test_a_refresh_under_way_counts_as_what_it_was_until_the_new_answer_is_there() -> None:
    for state in ("pending", "claimed", "failed"):
        old = held("a", 0, state=state)
        status = status_of("a", old)
        assert (status.accepted, status.to_request, status.answered) == ((old,), (), (old,))
        assert status.pending == ((old,) if state != "failed" else ())


def test_a_pending_draw_of_a_full_cell_is_not_paid_for() -> None:
    left_over = Draw(7, "a", 1, "pending")
    assert status_of("a", held("a", 0), left_over).pending == ()
    assert status_of("a", held("a", 0), left_over).counts[Status.PENDING] == 0
    assert status_of("a", held("a", 0), left_over, per_cell=2).pending == (left_over,)
    assert status_of("a", held("a", 0, score=5), left_over).pending == (left_over,)
    earlier = Draw(8, "a", 0, "pending")
    assert status_of("a", earlier, left_over).pending == (earlier,)
    assert status_of("a", earlier, held("a", 1)).pending == ()


def test_draws_beyond_those_wanted_stay_in_reserve() -> None:
    rows = [held("a", 0), held("a", 1), held("a", 2)]
    assert status_of("a", *rows, per_cell=2).accepted == tuple(rows[:2])
    assert status_of("a", *rows, per_cell=2).counts == {Status.ACCEPTED: 2, Status.PENDING: 0}
    assert status_of("a", replace(rows[0], decision="reject"), *rows[1:], per_cell=2).accepted == tuple(rows[1:])


def test_a_missing_number_is_not_asked_for_twice() -> None:
    # Numbers are enrolled in one transaction, without holes; a ledger mended by hand must not make a run turn for ever.
    assert status_of("a", held("a", 0, score=1), held("a", 2, score=1), max_draws=5).to_request == (("a", 3),)


def test_what_is_published_stands_in_the_order_of_the_plan() -> None:
    rows = [held(cell, draw) for draw in range(2) for cell in "ba"]
    status = status_of("bca", *rows, per_cell=2)
    assert [(row.cell, row.draw) for row in status.accepted] == [("b", 0), ("b", 1), ("a", 0), ("a", 1)]
    assert status.to_request == (("c", 0), ("c", 1))


@example([])
@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.sampled_from([None, *range(1, 11)])),
        unique_by=lambda one: one[:2],
    )
)
def test_every_held_draw_has_one_place(rows: Sequence[tuple[str, int, int | None]]) -> None:
    draws = [held(cell, draw, score) for cell, draw, score in rows]
    status = status_of("abc", *draws, per_cell=2)
    beside = [verdict.draw for verdict in status.rejected]
    assert set(status.answered) == set(draws)
    assert not set(status.accepted) & set(beside)
    assert status.counts.total() == len(status.accepted) + len(beside) + len(status.pending)
    reserve = set(draws) - set(status.accepted) - set(beside) - {row for row in draws if row.score is None}
    assert all(sum(one.cell == row.cell for one in status.accepted) == 2 for row in reserve)
