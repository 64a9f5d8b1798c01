"""Reviews over HTTP: what waits for one, a decision, its undo, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import func, update
from viewing import Pages

from convoforge.ledger.tables import answers

TURNS = [{"role": "user", "content": "How do I wash wool?"}, {"role": "assistant", "content": "By hand, and cold."}]
QUEUE = "/api/datasets/sheep/reviews?simulated=true"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with Pages.open(tmp_path_factory.mktemp("data")) as opened:
        opened.app.state.ledger.write(  # names as they are in a ledger
            lambda connection: (
                connection.execute(update(answers).values(conversation_id=func.printf("%024x", answers.c.request_id))) and None
            )
        )
        yield opened


def reviews_of(request: int) -> str:
    return f"/api/conversations/{request:024x}/reviews"


def data(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()["data"]


def fault(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["error"]["message"])


def test_a_decision_is_made_in_the_callers_name_and_taken_back(pages: Pages) -> None:
    queue = data(pages.get(QUEUE))
    first = queue["items"][0]
    assert (queue["sample"], queue["todo"], queue["done"], first["status"], first["score"]) == ("all", 16, 0, "needs_revision", 3)
    assert first["turns"][0] == {"role": "user", "content": "Question 15"}
    made = data(pages.post(reviews_of(15), json={"decision": "accept", "note": "fine"}), 201)
    assert (made["reviewer"], made["decision"], made["note"], made["decides"]) == ("local", "accept", "fine", True)
    assert data(pages.get(QUEUE))["decisions"] == {"accept": 1}
    edited = data(pages.post(reviews_of(15), json={"decision": "edit", "turns": TURNS}), 201)
    assert edited["turns"] == TURNS
    back = data(pages.post(f"{reviews_of(15)}/undo"), 201)
    assert (back["decision"], back["undoes"]) == ("undo", edited["id"])
    assert [one["stands"] for one in data(pages.get(reviews_of(15)))] == [True, False, False]
    queue = data(pages.get(f"{QUEUE}&sample=rejected&limit=1"))
    assert (queue["todo"], queue["done"], len(queue["items"]), queue["reviewers"]) == (1, 1, 1, {"local": 1})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"decision": "undo"}, "decision: "),
        ({"decision": "edit"}, "the decision edit needs turns"),
        ({"decision": "accept", "turns": TURNS}, "turns come with the decision edit"),
        ({"decision": "edit", "turns": TURNS[:1]}, "the edited turns make no conversation: too short"),
        ({"decision": "edit", "turns": [{"role": "system", "content": "x"}, *TURNS]}, "turns[0].role: "),
        ({"decision": "accept", "notes": "x"}, "notes: unknown field; did you mean 'note'?"),
        (
            {"decision": "edit", "turns": [{**TURNS[0], "contents": "x"}]},
            "turns[0].contents: unknown field; did you mean 'content'? Known: content, role.",
        ),
        ({"decision": "accept", "note": "x" * 10_001}, "note: "),
        (None, ""),
    ],
)
def test_what_cannot_be_is_refused_and_says_why(pages: Pages, body: Any, message: str) -> None:
    assert fault(pages.post(reviews_of(1), json=body), 400).startswith(message)
    assert data(pages.get(reviews_of(1))) == []


def test_an_edit_of_what_no_longer_stands_overwrites_nothing(pages: Pages) -> None:
    [item] = [one for one in data(pages.get(f"{QUEUE}&limit=200"))["items"] if one["conversationId"] == f"{3:024x}"]
    first = data(pages.post(reviews_of(3), json={"decision": "edit", "turns": TURNS, "editOf": item["editOf"]}), 201)
    other = [TURNS[0], {"role": "assistant", "content": "Never."}]
    late = {"decision": "edit", "turns": other, "editOf": 0}
    assert "local has edited this conversation meanwhile" in fault(pages.post(reviews_of(3), json=late), 409)
    data(pages.post(reviews_of(3), json={**late, "editOf": first["id"]}), 201)
    assert "comes with the decision edit" in fault(pages.post(reviews_of(3), json={"decision": "accept", "editOf": 0}), 400)
    for _ in range(2):
        data(pages.post(f"{reviews_of(3)}/undo"), 201)
    assert "no longer counts" in fault(pages.post(reviews_of(3), json={**late, "editOf": first["id"]}), 409)
    data(pages.post(reviews_of(3), json={"decision": "edit", "turns": other}), 201)  # who names none replaces any


def test_what_there_is_not_is_not_found(pages: Pages) -> None:
    assert "there is no conversation" in fault(pages.get(reviews_of(99)), 404)
    assert "there is no conversation" in fault(pages.post(reviews_of(99), json={"decision": "accept"}), 404)
    assert "no dataset" in fault(pages.get("/api/datasets/none/reviews"), 404)
    assert "has decided nothing" in fault(pages.post(f"{reviews_of(2)}/undo"), 400)
    assert "is no sample" in fault(pages.get(f"{QUEUE}&sample=random"), 400)
    assert pages.get(f"{QUEUE}&limit=201").status_code == 400
