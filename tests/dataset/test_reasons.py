"""Why requests and conversations were not accepted: what, how often, an example, what to do; on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ledger.conftest import dataset, ledger, owner
from ledger.made import CENT, NOW, answer, cell, completion, intent
from sqlalchemy import insert, update
from support import quality

from convoforge.dataset.reasons import of_dataset, of_run, read_reasons
from convoforge.errors import LimiterClosed
from convoforge.generation.recording import record_failure
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import AnswerRow, finish_attempts, start_attempts
from convoforge.ledger.owners import Owner, release
from convoforge.ledger.requests import read_draws, register_draws, requeue
from convoforge.ledger.tables import datasets, reviews
from convoforge.models import Quality, ScorerResult
from convoforge.pricing import price_of
from convoforge.reasons import _TO_DO, ORDER, Incident, Reason, find_to_do, group
from convoforge.scoring import Scored

__all__ = ["dataset", "ledger", "owner"]

REFUSAL = "the API refused the request (400): The request is not valid."
NAME = "Anxious Investor · Fear · bonds · template"


class Story:
    """A dataset whose draws are brought to an end one by one."""

    def __init__(self, ledger: Ledger, dataset: int, owner: Owner, draws: int) -> None:
        self.ledger, self.dataset, self.owner = ledger, dataset, owner
        ledger.write(lambda c: c.execute(update(datasets).values(min_score=6)) and None)
        ledger.write(register_draws, dataset, [(cell(n), 0) for n in range(draws)])
        self.ids = [draw.request_id for draw in ledger.read(read_draws, dataset)]

    def begin(self, number: int, run: str = "r", attempt: int = 1) -> Any:
        one = replace(intent(self.ids[number], self.dataset, self.owner, attempt=attempt), run_id=run)
        self.ledger.write(start_attempts, [one])
        return one

    def fail(self, number: int, error: str, state: str | None, **other: Any) -> None:
        how = {"run": other.pop("run", "r"), "attempt": other.pop("attempt", 1)}
        told = {"billing": "none", "status": "failed", "answer": None, "cost": 0, **other}
        done = completion(self.begin(number, **how), error=error, request_state=state, reason=error, **told)
        self.ledger.write(finish_attempts, [done])

    def hold(self, number: int, row: AnswerRow | None = None, scored: Quality | None = None, **other: Any) -> None:
        own = replace(row or answer(), conversation_id=f"c{number}", content_hash=other.pop("content", f"{number:064}"))
        own = replace(own, scored=Scored("turns=1", scored) if scored else None)
        how = {"run": other.pop("run", "r"), "attempt": other.pop("attempt", 1)}
        self.ledger.write(finish_attempts, [completion(self.begin(number, **how), answer=own, **other)])

    def read(self, **by: str) -> tuple[Reason, ...]:
        return self.ledger.read(read_reasons, of_run(by["run"]) if by else of_dataset(self.dataset))


def counts(reasons: tuple[Reason, ...]) -> Mapping[tuple[str, str], int]:
    return {(one.what, one.reason): one.count for one in reasons}


def bad(kind: str, reason: str) -> AnswerRow:
    return replace(answer(), kind=kind, turns=None, raw_text="no", reason=reason)


def test_every_end_of_a_request_is_told_with_its_count_an_example_and_what_to_do(
    ledger: Ledger, dataset: int, owner: Owner
) -> None:
    story = Story(ledger, dataset, owner, 14)
    story.fail(0, REFUSAL, "failed")
    story.fail(1, REFUSAL, "failed")
    story.fail(2, "the API failed (500): Internal server error", None)
    story.hold(2, attempt=2, scored=quality(10))
    story.fail(3, "the API did not answer in time", "pending", billing="maybe")
    story.begin(4)
    ledger.write(release, [owner.id], NOW)  # killed in the midst of it
    short = ScorerResult("turns", 1, 0, 3, None, "2 turns; 8 to 16 are best")
    story.hold(5, scored=Quality(5, (short,)))
    story.hold(6, scored=Quality(3, (replace(short, reason="3 turns; 8 to 16 are best"),)))
    story.hold(7, scored=Quality(9, (ScorerResult("mine", 1, None, None, "revise", "not a word of it"),)))
    story.hold(8, bad("truncated", "the answer was cut off at max_tokens: raise generation.max_tokens"))
    story.hold(9, scored=quality(10), content="a" * 64)
    story.hold(10, scored=quality(10), content="a" * 64)
    story.hold(11, scored=quality(10), run="another")
    said = {"request_id": story.ids[11], "attempt": 1, "decision": "reject", "at": NOW}
    ledger.write(lambda c: c.execute(insert(reviews), said) and None)
    story.hold(12, scored=quality(10), usage_known=False, billing="maybe")

    found = story.read()
    timeout, killed = "the API did not answer in time", "the process ended during the call; it may have been billed"
    expected = {
        ("refused", REFUSAL): 2,
        ("failed", timeout): 1,
        ("failed", killed): 1,
        ("maybe billed", timeout): 1,
        ("maybe billed", killed): 1,
        ("maybe billed", "the answer says no usage or no price that is known"): 1,
        ("needs revision", "score below 6: turns below 8"): 2,
        ("needs revision", "mine: not a word of it"): 1,
        ("dropped", "truncated: the answer was cut off at max_tokens: raise generation.max_tokens"): 1,
        ("dropped", "the same as an accepted conversation"): 1,
        ("dropped", "rejected in review"): 1,
        ("retried", "the API failed (500): Internal server error"): 1,
    }
    assert counts(found) == expected
    assert [one.what for one in found] == sorted((one.what for one in found), key=ORDER.index)
    assert found[0] == Reason(
        "refused",
        REFUSAL,
        2,
        f"{NAME} #1: {REFUSAL}",
        "Change what the API names and build again, or ask for it unchanged: `convoforge build SPEC --retry-refused`",
    )
    low = next(one for one in found if one.reason == "score below 6: turns below 8")
    assert low.example in (f"{NAME} #1: 2 turns; 8 to 16 are best", f"{NAME} #1: 3 turns; 8 to 16 are best")
    assert (low.conversation_id, low.to_do) in (("c5", "Ask in the template for 8 to 16 turns"), ("c6", low.to_do))
    assert all(one.to_do and one.row[1] == str(one.count) for one in found)
    assert counts(story.read(run="another")) == {("dropped", "rejected in review"): 1}
    assert story.read(run="nobody") == ()


def test_what_is_answered_after_all_is_no_failure_any_more(ledger: Ledger, dataset: int, owner: Owner) -> None:
    story = Story(ledger, dataset, owner, 2)
    story.fail(0, REFUSAL, "failed")
    story.fail(1, "the API has no room (429): later", "pending")
    assert {one.what for one in story.read()} == {"refused", "failed"}
    ledger.write(requeue, story.ids)
    for number in range(2):
        story.hold(number, attempt=2, scored=quality(10), cost=CENT)
    found = story.read()
    assert {one.what: one.count for one in found} == {"retried": 2} or [one.what for one in found] == ["retried", "retried"]
    assert any("lower limits.max_requests" in one.to_do for one in found)


def test_words_that_differ_in_a_number_are_one_reason_and_a_status_is_no_number() -> None:
    said = ["the user asks 1 times; 2 or more", "the user asks 0 times; 2 or more"]
    some = [Incident("needs revision", words, number) for number, words in enumerate(said)]
    some += [Incident("failed", f"the API failed ({status}): no", status) for status in (500, 503)]
    assert [one.reason.count for one in group(some)] == [1, 1, 2]


def test_the_values_of_a_scorer_are_one_reason_for_each_side_of_its_range() -> None:
    some = [
        Incident(
            "needs revision",
            "score 5 is below 6",
            number,
            lacks=(("length", f"{value} characters a turn on average; 100 to 400 are best"),),
        )
        for number, value in enumerate((12, 33, 99, 401, 2_000))
    ]
    assert {one.reason.reason: one.reason.count for one in group(some)} == {
        "score below 6: length below 100 characters a turn on average": 3,
        "score below 6: length above 400 characters a turn on average": 2,
    }


def test_a_fault_that_quotes_a_turn_is_one_reason_whatever_it_quotes() -> None:
    said = [
        "control_tokens: turn 4 (assistant): '<|im_end|>' is a control token",
        "control_tokens: turn 9 (assistant): '</s>' is a control token",
    ]
    assert [one.reason.count for one in group([Incident("dropped", words, n) for n, words in enumerate(said)])] == [2]


def test_a_call_that_a_stop_kept_from_being_sent_is_told_as_such(ledger: Ledger, dataset: int, owner: Owner) -> None:
    story = Story(ledger, dataset, owner, 1)
    stop = LimiterClosed("cancelled in Prefect")
    done = record_failure(story.begin(0), stop, None, price_of("claude-sonnet-5-5"), NOW, 5, fingerprint="f", pending=True)
    ledger.write(finish_attempts, [done])
    [told] = story.read()
    assert (told.what, told.reason) == ("failed", "not sent: cancelled in Prefect")
    assert told.to_do == "Build again: the draw is taken up where it was left, and nothing was paid"


@pytest.mark.parametrize("what", ORDER)
def test_whatever_happened_there_is_something_to_do_about_it(what: Any) -> None:
    assert find_to_do(what, "words that nobody has seen before")
    assert all(not text.endswith(".") and text[0].isupper() for _, text in _TO_DO[what])
