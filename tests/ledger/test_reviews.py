"""Reviews in the ledger, on either database: rows are only added, the last that stands decides, and what it says holds everywhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger.conftest import NOW
from ledger.made import CENT, cell, completion, intent
from reviewed import read_current
from sqlalchemy import delete, func, select

from convoforge.dataset.acceptance import assess
from convoforge.errors import ConfigError, StaleEdit, UnknownConversation
from convoforge.ledger import Ledger
from convoforge.ledger.answers import read_answers, read_published, write_scores
from convoforge.ledger.attempts import AnswerRow, finish_attempts, start_attempts
from convoforge.ledger.judgments import read_reviewed
from convoforge.ledger.owners import Owner
from convoforge.ledger.requests import _draws_of, claim, read_draws, register_draws
from convoforge.ledger.reviews import read_edits
from convoforge.ledger.signatures import list_unsigned, read_unsigned, write_signatures
from convoforge.ledger.tables import reviews
from convoforge.models import Conversation, Quality, Turn
from convoforge.review.deciding import decide, read_reviews, undo
from convoforge.scoring import Scored
from convoforge.scoring.duplicates import content_hash
from convoforge.scoring.similarity import Signed

ID = "ab" * 12
TURNS = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes, at nine."}]
ORIGINAL = Conversation((Turn("user", "a"), Turn("assistant", "b")))
EDITED = Conversation((Turn("user", "Hello?"), Turn("assistant", "Yes, at nine.")))


def hold(ledger: Ledger, dataset: int, owner: Owner, *, number: int = 1, score: int = 4, turns: str | None = None) -> int:
    """An answer of one cell, with a score."""
    ledger.write(register_draws, dataset, [(cell(number), 0)])
    request = max(draw.request_id for draw in ledger.read(read_draws, dataset))
    ledger.write(claim, owner.id, [request], NOW)
    sent = intent(request, dataset, owner)
    name = ID if number == 1 else f"{number:024x}"
    text = turns or '[["user","a"],["assistant","b"]]'
    answer = AnswerRow(name, 64 * "5", "ok", text, None, None, None, "1/x", None, temperature_applied=False)
    ledger.write(start_attempts, [sent])
    ledger.write(finish_attempts, [completion(sent, cost=CENT, answer=answer)])
    ledger.write(write_scores, [(request, 1, Scored("r", Quality(score)), content_hash(ORIGINAL))])
    return request


def accepted(ledger: Ledger, dataset: int, cells: int = 1) -> list[int]:
    draws = ledger.read(read_draws, dataset)
    status = assess([cell(n).key for n in range(1, cells + 1)], draws, min_score=6, per_cell=1, max_draws=3)
    return [draw.request_id for draw in status.accepted]


def test_the_last_decision_counts_and_an_undo_brings_back_the_one_before(ledger: Ledger, dataset: int, owner: Owner) -> None:
    request = hold(ledger, dataset, owner)
    assert accepted(ledger, dataset) == []
    decide(ledger, ID, "accept", "Ada", now=NOW, note="  short, but right ")
    assert accepted(ledger, dataset) == [request]
    decide(ledger, ID, "reject", "Ben", now=NOW + timedelta(minutes=1))
    assert accepted(ledger, dataset) == []
    undo(ledger, ID, "Ben", now=NOW + timedelta(minutes=2))
    assert accepted(ledger, dataset) == [request]
    rows = read_reviews(ledger, ID)
    assert [(one.decision, one.reviewer, one.note, one.stands, one.decides) for one in rows] == [
        ("accept", "Ada", "short, but right", True, True),
        ("reject", "Ben", "", False, False),
        ("undo", "Ben", "", False, False),
    ]
    assert (rows[2].undoes, rows[0].at) == (rows[1].id, NOW)
    with pytest.raises(ConfigError, match="'Ben' has decided nothing on conversation .* that could be undone"):
        undo(ledger, ID, "Ben", now=NOW)


def test_of_two_who_edit_the_same_text_at_once_one_is_told(ledger: Ledger, dataset: int, owner: Owner) -> None:
    hold(ledger, dataset, owner)

    def edit(reviewer: str) -> str:
        try:
            turns = [TURNS[0], {"role": "assistant", "content": f"Yes, says {reviewer}."}]
            return decide(ledger, ID, "edit", reviewer, now=NOW, turns=turns, edit_of=0).reviewer
        except StaleEdit as error:
            return str(error)

    names = [f"R{number}" for number in range(4)]
    with ThreadPoolExecutor(len(names)) as threads:
        said = [*threads.map(edit, names)]
    [first] = [one for one in said if one in names]
    assert {one for one in said if one not in names} == {
        f"{first} has edited this conversation meanwhile: read that text before you replace it"
    }
    assert [one.reviewer for one in read_reviews(ledger, ID)] == [first]


def test_nobody_takes_back_what_another_has_decided(ledger: Ledger, dataset: int, owner: Owner) -> None:
    hold(ledger, dataset, owner)
    decide(ledger, ID, "accept", "Ada", now=NOW)
    decide(ledger, ID, "reject", "Ben", now=NOW)
    undo(ledger, ID, "Ada", now=NOW)
    assert [(one.reviewer, one.decides) for one in read_reviews(ledger, ID) if one.stands] == [("Ben", True)]


def test_an_edit_is_published_and_its_original_stays(ledger: Ledger, dataset: int, owner: Owner) -> None:
    request = hold(ledger, dataset, owner)
    signed = [((1, 0), Signed(request, (dataset, 0, cell(1).key), b"x" * 8))]
    ledger.write(write_signatures, signed, [], "anthropic", 0)
    assert not ledger.read(list_unsigned, [dataset])
    decide(ledger, ID, "edit", "Ada", now=NOW, turns=TURNS)
    [row] = ledger.read(lambda connection: [*read_answers(connection, [request])])
    assert (read_published(row), row.turns) == (EDITED, '[["user","a"],["assistant","b"]]')
    assert read_current(ledger, ID) == (ORIGINAL, EDITED)
    assert accepted(ledger, dataset) == [request]
    assert [*ledger.read(read_edits, dataset)] == [request]
    assert [*ledger.read(list_unsigned, [dataset])] == [request], "its new text is compared with the others again"
    [(_, turns, _, conversation)] = ledger.read(read_unsigned, [request])
    assert conversation == EDITED
    ledger.write(write_signatures, signed, [], "anthropic", 9)
    assert [*ledger.read(list_unsigned, [dataset])] == [request], "a signature of the original comes too late"
    ledger.write(write_signatures, [(turns, signed[0][1])], [], "anthropic", 9)
    assert not ledger.read(list_unsigned, [dataset])
    assert ledger.read(read_reviewed, dataset) == [], "no judge is measured by it"
    undo(ledger, ID, "Ada", now=NOW)
    assert read_current(ledger, ID) == (ORIGINAL, ORIGINAL)
    assert not ledger.read(read_edits, dataset)


def test_what_repeats_the_edited_text_is_dropped_and_what_repeats_the_original_is_not(
    ledger: Ledger, dataset: int, owner: Owner
) -> None:
    first, twin = hold(ledger, dataset, owner, score=9), hold(ledger, dataset, owner, number=2, score=9)
    assert accepted(ledger, dataset, 2) == [first]
    decide(ledger, ID, "edit", "Ada", now=NOW, turns=TURNS)
    assert accepted(ledger, dataset, 2) == [first, twin]
    copy = '[["user","HELLO?"],["assistant","Yes,  at nine."]]'
    third = hold(ledger, dataset, owner, number=3, score=9, turns=copy)
    ledger.write(write_scores, [(third, 1, Scored("r", Quality(9)), content_hash(EDITED))])
    assert accepted(ledger, dataset, 3) == [first, twin]


def test_an_edit_that_changes_nothing_is_an_accept(ledger: Ledger, dataset: int, owner: Owner) -> None:
    hold(ledger, dataset, owner)
    assert decide(ledger, ID, "edit", "Ada", now=NOW, turns=ORIGINAL.turns).decision == "accept"


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    (
        {"decision": "edit", "turns": TURNS[1:]},
        "the edited turns make no conversation: .*turn 1 is assistant but the first must be",
    ),
    ({"decision": "edit", "turns": TURNS[:1]}, "too short: 1 of at least 2 turns"),
    ({"decision": "edit", "turns": [TURNS[0], {"role": "assistant", "content": " "}]}, r"turn 2 \(assistant\) is empty"),
    ({"decision": "edit", "turns": [TURNS[0], {"role": "assistant", "content": "\0"}]}, "NUL"),
    ({"decision": "edit", "turns": [{"role": "system", "content": "x"}, *TURNS]}, "hold a system turn"),
    ({"decision": "edit", "turns": [3]}, "turn 1 is not an object"),
    ({"decision": "edit"}, "needs turns"),
    ({"decision": "accept", "turns": TURNS}, "turns come with the decision edit, not with accept"),
    ({"decision": "undo"}, "'undo' is no decision: give accept, reject, revise or edit"),
    ({"decision": "accept", "reviewer": " "}, "is no reviewer's name"),
    ({"decision": "accept", "reviewer": "A\nB"}, "is no reviewer's name"),
    ({"decision": "accept", "note": "x" * 10_001}, "10,000 are allowed"),
    ({"decision": "accept", "note": "\ud800"}, "cannot be stored"),
)


def test_what_cannot_be_is_refused_and_leaves_nothing(ledger: Ledger, dataset: int, owner: Owner) -> None:
    hold(ledger, dataset, owner)
    for what, message in REFUSED:
        with pytest.raises(ConfigError, match=message):
            decide(ledger, ID, **{"reviewer": "Ada", "now": NOW, **what})
    assert read_reviews(ledger, ID) == []


def test_only_a_conversation_that_is_held_can_be_reviewed(ledger: Ledger, dataset: int, owner: Owner) -> None:
    for name in ("cd" * 12, "", "\0", "' OR 1"):
        with pytest.raises(UnknownConversation, match="there is no conversation"):
            read_reviews(ledger, name)
    request = hold(ledger, dataset, owner)
    again = intent(request, dataset, owner, attempt=2)
    ledger.write(start_attempts, [again])
    newer = AnswerRow("ef" * 12, 64 * "6", "refused", None, None, "no", "refused", "1/x", None, temperature_applied=False)
    ledger.write(finish_attempts, [completion(again, answer=newer)])
    with pytest.raises(UnknownConversation, match="replaced by another answer"):
        decide(ledger, ID, "accept", "Ada", now=NOW)
    with pytest.raises(UnknownConversation, match=r"holds no conversation \(refused\)"):
        decide(ledger, "ef" * 12, "accept", "Ada", now=NOW)


steps = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(("accept", "reject", "revise", "edit", "undo"))), max_size=8)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_rows_are_only_added_and_the_last_that_stands_decides(
    ledger: Ledger, dataset: int, owner: Owner, some: list[tuple[str, str]]
) -> None:
    if not ledger.read(read_draws, dataset):
        hold(ledger, dataset, owner)
    ledger.write(lambda connection: connection.execute(delete(reviews)) and None)
    standing: list[tuple[str, str]] = []
    before: list[Any] = []
    for reviewer, decision in some:
        own = [one for one in standing if one[0] == reviewer]
        if decision != "undo":
            decide(ledger, ID, decision, reviewer, now=NOW, turns=TURNS if decision == "edit" else None)
            standing.append((reviewer, decision))
        elif own:
            undo(ledger, ID, reviewer, now=NOW)
            del standing[len(standing) - 1 - standing[::-1].index(own[-1])]
        else:
            with pytest.raises(ConfigError):
                undo(ledger, ID, reviewer, now=NOW)
            continue
        now = [(one.id, one.decision, one.reviewer, one.turns, one.undoes) for one in read_reviews(ledger, ID)]
        assert now[:-1] == before
        before = now
        rows = read_reviews(ledger, ID)
        assert [(one.reviewer, one.decision) for one in rows if one.stands] == standing
        assert [one for one in rows if one.decides] == [one for one in rows if one.stands][-1:]
        [draw] = ledger.read(read_draws, dataset)
        assert draw.decision == (standing[-1][1] if standing else None), "the rule sees what decides"
        assert bool(accepted(ledger, dataset)) == bool(standing and standing[-1][1] in ("accept", "edit"))
    assert ledger.read(lambda connection: connection.execute(select(func.count()).select_from(reviews)).scalar_one()) == len(
        before
    )


def test_no_answer_is_compared_with_every_review(tmp_path: Path) -> None:
    """SQLite took a list of ids apart and looked up each for each answer: 100,000 answers with 20,000 reviews were read for ten minutes."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        statement = str(_draws_of(1).compile(ledger.engine, compile_kwargs={"literal_binds": True}))
        steps = ledger.read(
            lambda connection: [str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
        )
    assert any("SEARCH reviews USING INTEGER PRIMARY KEY (rowid=?)" in step for step in steps), steps
