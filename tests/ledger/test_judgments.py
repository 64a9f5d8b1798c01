"""Requests to a judge in the ledger, on either database: named by what is judged, asked again only where an answer does not count."""

from __future__ import annotations

import json
from dataclasses import replace

from ledger.conftest import NOW
from ledger.made import completion, intent
from sqlalchemy import insert

from convoforge.dataset.calibration import calibrate
from convoforge.ledger import Ledger
from convoforge.ledger.answers import list_unscored, write_scores
from convoforge.ledger.attempts import AnswerRow, finish_attempts, start_attempts
from convoforge.ledger.judgments import ask_again, claim_judgments, read_judge_costs, read_judgments, read_reviewed
from convoforge.ledger.owners import Owner
from convoforge.ledger.requests import claim, read_draws, register_draws
from convoforge.ledger.tables import reviews
from convoforge.models import Quality, ScorerResult
from convoforge.planning.plan import Cell
from convoforge.planning.rubrics import Criterion, JudgeRubric
from convoforge.scoring import Judge, Scored

CELL = Cell("c" * 32, "p", "e", "t", "template", "advice")
KEY = "f" * 32
WAITS = Scored("r", Quality(8, (ScorerResult("judge", 1, None, None, "unjudged", "no judge has read it yet"),)))


def answer(ledger: Ledger, dataset: int, owner: Owner, request: int, attempt: int, row: AnswerRow, purpose: str) -> None:
    sent = replace(intent(request, dataset, owner, attempt=attempt), purpose=purpose)  # type: ignore[arg-type]
    ledger.write(start_attempts, [sent])
    ledger.write(finish_attempts, [replace(completion(sent), answer=row)])


def test_a_judgment_is_found_by_its_key_and_asked_again_once(ledger: Ledger, dataset: int, owner: Owner) -> None:
    ledger.write(register_draws, dataset, [(CELL, 0)])
    [draw] = ledger.read(read_draws, dataset)
    ledger.write(claim, owner.id, [draw.request_id], NOW)
    turns = '[["user","Hello?"],["assistant","Yes."]]'
    held = AnswerRow("id", "5" * 64, "ok", turns, None, None, None, "1", None, temperature_applied=False)
    answer(ledger, dataset, owner, draw.request_id, 1, held, "conversation")
    ledger.write(write_scores, [(draw.request_id, 1, WAITS, "0" * 64)], {draw.request_id: f"{KEY}/0"})
    assert [*ledger.read(list_unscored, dataset, "r")] == [], "it waits, and scoring it again would not help"

    ledger.write(register_draws, dataset, [(replace(CELL, key=KEY), 0)], purpose="judge")
    assert len(ledger.read(read_draws, dataset)) == 1, "what is asked of a judge is no draw"
    [claimed] = ledger.write(claim_judgments, owner.id, [f"{KEY}/0"], NOW)
    assert ledger.write(claim_judgments, owner.id, [f"{KEY}/0"], NOW) == []
    said = replace(held, kind="judged", turns=None, raw_text="{}")
    answer(ledger, dataset, owner, claimed.request_id, 1, said, "judge")
    assert [*ledger.read(list_unscored, dataset, "r")] == [draw.request_id]
    first = ledger.read(read_judgments, [f"{KEY}/0", "unknown/0"])
    assert [*first] == [f"{KEY}/0"]
    found = first[f"{KEY}/0"]
    assert (found.text, found.answers, found.attempt, found.refused) == ("{}", 1, 1, "")

    ledger.write(ask_again, [found])
    assert [*ledger.read(list_unscored, dataset, "r")] == []
    [again] = ledger.write(claim_judgments, owner.id, [f"{KEY}/0"], NOW)
    answer(ledger, dataset, owner, again.request_id, 2, said, "judge")
    ledger.write(ask_again, [found])
    assert ledger.read(read_judgments, [f"{KEY}/0"])[f"{KEY}/0"].answers == 2
    assert ledger.write(claim_judgments, owner.id, [f"{KEY}/0"], NOW) == [], "whoever read the older answer asks for nothing"
    assert ledger.read(read_judge_costs, intent(1, dataset, owner).run_id)[0] == 2

    for decision in ("reject", "accept"):
        row = {"request_id": draw.request_id, "attempt": 1, "decision": decision, "at": NOW}
        ledger.write(lambda connection, row=row: connection.execute(insert(reviews), row) and None)
    [reviewed] = ledger.read(read_reviewed, dataset)
    assert (reviewed.accepted, reviewed.judge_key, len(reviewed.conversation.turns)) == (True, f"{KEY}/0", 2)


def test_reviews_are_compared_with_all_criteria_together_and_with_each_of_them(
    ledger: Ledger, dataset: int, owner: Owner
) -> None:
    """`kind` asks for nothing, so more than half of its points count as passed."""
    anchors = ("bad", "fair", "good")
    criteria = {"kind": Criterion(question="?", anchors=anchors), "talk": Criterion(question="?", anchors=anchors, min=3)}
    judge = Judge(JudgeRubric(version=1, description="", criteria=criteria), "m", {"talk": 3}, "revise")
    ledger.write(register_draws, dataset, [(CELL, number) for number in range(3)])
    turns = '[["user","Hello?"],["assistant","Yes."]]'
    held = AnswerRow("id", "5" * 64, "ok", turns, None, None, None, "1", None, temperature_applied=False)
    cases = ((2, 3, "accept"), (1, 3, "reject"), (None, None, "reject"))
    for draw, (kind, talk, decision) in zip(ledger.read(read_draws, dataset), cases, strict=True):
        key = f"{draw.draw}" * 32
        ledger.write(claim, owner.id, [draw.request_id], NOW)
        answer(ledger, dataset, owner, draw.request_id, 1, held, "conversation")
        ledger.write(write_scores, [(draw.request_id, 1, WAITS, "0" * 64)], {draw.request_id: f"{key}/0"})
        row = {"request_id": draw.request_id, "attempt": 1, "decision": decision, "at": NOW}
        ledger.write(lambda connection, row=row: connection.execute(insert(reviews), row) and None)
        if kind is not None:
            ledger.write(register_draws, dataset, [(replace(CELL, key=key), 0)], purpose="judge")
            [claimed] = ledger.write(claim_judgments, owner.id, [f"{key}/0"], NOW)
            points = {name: {"quote": "Hello?", "reason": "", "points": each} for name, each in (("kind", kind), ("talk", talk))}
            said = replace(held, kind="judged", turns=None, raw_text=json.dumps(points))
            answer(ledger, dataset, owner, claimed.request_id, 1, said, "judge")
    found = calibrate(ledger, dataset, judge)
    assert (found.verdict.pairs, found.verdict.share) == (2, 1.0)
    assert {name: one.share for name, one in found.criteria.items()} == {"kind": 1.0, "talk": 0.5}
    assert len(found.unread) == 1
