"""Files of reviews: what is decided in another tool comes back, once, and all of it or nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from review.conftest import NOW, TURNS, Reviewed

from convoforge.errors import ConfigError
from convoforge.models import Turn
from convoforge.review import ReviewFormat
from convoforge.review.choosing import Sample, choose
from convoforge.review.deciding import decide, read_reviews, undo
from convoforge.review.exchange import Imported, export_queue, import_reviews
from convoforge.review.text_form import write_text

USER = "0e9a1f6c-5d33-4d0a-9f3b-2f6c7a1b9e10"


def export(reviewed: Reviewed, kind: ReviewFormat, path: Path) -> list[dict[str, Any]]:
    queue = choose(reviewed.ledger, reviewed.plan, reviewed.dataset, Sample("all"), reviewer="Ada", again=True)
    assert [*export_queue(reviewed.ledger, (*queue.todo, *queue.done), "spoken", kind, path)] == [6]
    text = path.read_text()
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]  # type: ignore[no-any-return]


def read(reviewed: Reviewed, kind: ReviewFormat, path: Path, reviewer: str = "Ada", now: datetime = NOW) -> Imported:
    return import_reviews(reviewed.ledger, reviewed.dataset, path, kind, reviewer=reviewer, now=now)


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def said(reviewed: Reviewed, name: str) -> list[tuple[str, str, str, str | None]]:
    """Decision, reviewer, note and the last edited turn of each review."""
    rows = read_reviews(reviewed.ledger, name)
    return [(one.decision, one.reviewer, one.note, one.turns[-1].content if one.turns else None) for one in rows]


def test_plain_files_carry_reviews_from_one_ledger_to_another(reviewed: Reviewed, tmp_path: Path) -> None:
    first, second = reviewed.names[:2]
    decide(reviewed.ledger, first, "accept", "Ada", now=NOW)
    decide(reviewed.ledger, first, "edit", "Ben", now=NOW, turns=TURNS, note="clearer")
    decide(reviewed.ledger, second, "reject", "Ben", now=NOW)
    before = {name: said(reviewed, name) for name in (first, second)}
    path = tmp_path / "a.jsonl"
    [record] = [one for one in export(reviewed, "plain", path) if one["conversation_id"] == first]
    assert record["messages"] == TURNS and record["decision"] == "edit" and record["score"] == 4
    assert read(reviewed, "plain", path) == Imported(0, 3, 4)
    for name in (first, second):
        while read_reviews(reviewed.ledger, name)[-1].stands:
            for reviewer in {one.reviewer for one in read_reviews(reviewed.ledger, name) if one.stands}:
                undo(reviewed.ledger, name, reviewer, now=NOW)
    assert read(reviewed, "plain", path) == Imported(0, 3, 4), "what was taken back here stays so"
    later = write(
        tmp_path / "b.jsonl",
        *(
            {**one, "reviews": [{**each, "at": "2027-01-01T00:00:00Z"} for each in one["reviews"]]}
            for one in export(reviewed, "plain", tmp_path / "c.jsonl")
        ),
    )
    assert read(reviewed, "plain", later) == Imported(0, 0, 6)
    for name, rows in before.items():
        reviews = [
            {"decision": d, "reviewer": who, "note": note, "at": "2027-01-01T00:00:00Z", **({"messages": TURNS} if text else {})}
            for d, who, note, text in rows
        ]
        assert read(reviewed, "plain", write(tmp_path / name, {"conversation_id": name, "reviews": reviews})).new == len(rows)
        assert said(reviewed, name)[-len(rows) :] == rows
        assert read_reviews(reviewed.ledger, name)[-1].at == datetime(2027, 1, 1, tzinfo=UTC)


def test_argillas_records_come_back_with_responses(reviewed: Reviewed, tmp_path: Path) -> None:
    name, other = reviewed.names[:2]
    decide(reviewed.ledger, other, "reject", "Ben", now=NOW, note="wrong")
    records = {one["id"]: one for one in export(reviewed, "argilla", tmp_path / "a.jsonl")}
    record = records[name]
    assert record["fields"]["conversation"][0] == {"role": "user", "content": "Is a bond safe, Ada?"}
    assert record["suggestions"] == {
        "edited": {
            "value": "=== user ===\nIs a bond safe, Ada?\n\n=== assistant ===\nIt may be 0.\n",
            "score": None,
            "agent": "convoforge",
        }
    }
    assert records[other]["suggestions"]["decision"] == {"value": "reject", "score": None, "agent": "Ben"}
    assert (record["metadata"]["score"], record["responses"], record["vectors"]) == (4, {}, {})
    text = record["suggestions"]["edited"]["value"].replace("It may be 0", "It may well be")
    answered = {
        question: [{"value": value, "user_id": USER, "status": "submitted"}]
        for question, value in (("decision", "edit"), ("note", "n"), ("edited", text))
    }
    path = write(
        tmp_path / "b.jsonl", *({**one, "responses": answered} if one["id"] == name else one for one in records.values())
    )
    assert read(reviewed, "argilla", path) == Imported(1, 0, 5)
    assert said(reviewed, name) == [("edit", USER, "n", "It may well be.")]
    assert read(reviewed, "argilla", path) == Imported(0, 1, 5)
    for decision, new in (("accept", 1), ("edit", 1), ("edit", 0)):  # Argilla knows no times: what one says now is what counts
        answered["decision"][0]["value"] = decision
        assert read(reviewed, "argilla", write(path, {**record, "responses": answered})).new == new


def test_label_studios_tasks_come_back_with_annotations(reviewed: Reviewed, tmp_path: Path) -> None:
    name, other = reviewed.names[:2]
    decide(reviewed.ledger, other, "reject", "Ben", now=NOW, note="wrong")
    tasks = {one["data"]["conversation_id"]: one for one in export(reviewed, "label-studio", tmp_path / "a.json")}
    task = tasks[name]
    assert (task["data"]["messages"][1], task["data"]["score"]) == ({"role": "assistant", "content": "It may be 0."}, 4)
    assert [one["from_name"] for one in tasks[other]["predictions"][0]["result"]] == ["decision", "note"]
    assert task["predictions"] == [], "the text to edit is in the task once: Label Studio adds what a box holds to what is there"
    assert tasks[other]["predictions"][0]["model_version"] == "Ben"

    def annotation(decision: str, by: Any, at: str, **more: Any) -> dict[str, Any]:
        results = [
            {"id": "x1", "from_name": "decision", "to_name": "conversation", "type": "choices", "value": {"choices": [decision]}}
        ]
        texts = {"note": ["one", "two"], "edited": [task["data"]["text"].replace("may be", "might be")]}
        results += [
            {"from_name": each, "to_name": "conversation", "type": "textarea", "value": {"text": text}}
            for each, text in texts.items()
        ]
        return {"id": 1, "completed_by": by, "result": results, "was_cancelled": False, "created_at": at, **more}

    task["annotations"] = [
        annotation("accept", {"id": 4, "email": "ada@example.com"}, "2026-11-27T10:00:00.123456Z"),
        annotation("edit", 7, "2026-11-27T09:00:00Z"),
        annotation("reject", 8, "2026-11-27T09:00:00Z", was_cancelled=True),
    ]
    path = tmp_path / "b.json"
    path.write_text(json.dumps([*tasks.values()], indent=1))
    assert read(reviewed, "label-studio", path) == Imported(2, 0, 5)
    assert said(reviewed, name) == [("edit", "7", "one\ntwo", "It might be 0."), ("accept", "ada@example.com", "one\ntwo", None)]
    assert read(reviewed, "label-studio", path) == Imported(0, 2, 5)


@pytest.mark.parametrize("apart", [False, True])
def test_two_texts_of_one_edit_make_no_conversation_of_both(reviewed: Reviewed, tmp_path: Path, *, apart: bool) -> None:
    name = reviewed.names[0]
    text = write_text(Turn(one["role"], one["content"]) for one in TURNS)

    def result(kind: str, question: str, **value: Any) -> dict[str, Any]:
        return {"from_name": question, "to_name": "conversation", "type": kind, "value": value}

    texts = (
        [result("textarea", "edited", text=[text]) for _ in range(2)]
        if apart
        else [result("textarea", "edited", text=[text, text])]
    )
    chosen = result("choices", "decision", choices=["edit"])
    task = {"data": {"conversation_id": name}, "annotations": [{"completed_by": 4, "result": [chosen, *texts]}]}
    with pytest.raises(ConfigError, match=r"^nothing was imported: line 1: '4' has given 2 answers to 'edited', .* leave one$"):
        read(reviewed, "label-studio", write(tmp_path / "a.jsonl", task))
    responses = {
        "decision": [{"value": "edit", "user_id": USER, "status": "submitted"}],
        "edited": [{"value": text, "user_id": USER, "status": "submitted"}] * 2,
    }
    with pytest.raises(ConfigError, match="has given 2 answers to 'edited'"):
        read(reviewed, "argilla", write(tmp_path / "a.jsonl", {"id": name, "responses": responses}))
    assert said(reviewed, name) == []


def test_argillas_drafts_and_discarded_answers_decide_nothing(reviewed: Reviewed, tmp_path: Path) -> None:
    name = reviewed.names[0]

    def answered(*given: tuple[str, str | None]) -> Path:
        said = [{"value": "accept", "user_id": who, **({"status": status} if status else {})} for who, status in given]
        return write(tmp_path / "a.jsonl", {"id": name, "responses": {"decision": said}})

    path = answered(("a", "draft"), ("b", "discarded"), ("c", "submitted"))
    assert read(reviewed, "argilla", path) == Imported(1, 0, 0)
    assert said(reviewed, name) == [("accept", "c", "", None)]
    assert read(reviewed, "argilla", answered(("d", "draft"))) == Imported(0, 0, 1)
    with pytest.raises(ConfigError, match="line 1: a response has no status, so that drafts look like decisions"):
        read(reviewed, "argilla", answered(("d", "submitted"), ("e", None)))


def test_names_that_one_tool_takes_are_mended_for_the_other(reviewed: Reviewed, tmp_path: Path) -> None:
    """Argilla takes letters without accents, digits and - _ : . / in the name of an agent; we take one line of 200 characters."""
    for name, reviewer in zip(reviewed.names, ("Zoë <zoe@example.com>", "李", "Ben-1"), strict=False):
        decide(reviewed.ledger, name, "reject", reviewer, now=NOW)
    records = {one["id"]: one for one in export(reviewed, "argilla", tmp_path / "a.jsonl")}
    agents = [records[name]["suggestions"]["decision"]["agent"] for name in reviewed.names[:3]]
    assert agents == ["Zoe -zoe-example.com-", "reviewer", "Ben-1"]
    responses = {"decision": [{"value": "accept", "user_id": f"a\n{'b' * 300}", "status": "submitted"}]}
    assert read(reviewed, "argilla", write(tmp_path / "b.jsonl", {"id": reviewed.names[4], "responses": responses})).new == 1
    assert said(reviewed, reviewed.names[4])[0][1] == f"a {'b' * 198}"


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_that_utc_cannot_hold_is_one_line(reviewed: Reviewed, tmp_path: Path, at: str) -> None:
    path = write(tmp_path / "a.jsonl", {"conversation_id": reviewed.names[0], "reviews": [{"decision": "accept", "at": at}]})
    with pytest.raises(ConfigError) as caught:
        read(reviewed, "plain", path)
    assert str(caught.value) == f"nothing was imported: line 1: '{at}' is no time between the years 1 and 9999 in UTC"


def test_a_file_with_faults_changes_nothing_and_each_fault_has_its_line(reviewed: Reviewed, tmp_path: Path) -> None:
    def line(decision: Any = "accept", name: Any = reviewed.names[0], **review: Any) -> dict[str, Any]:
        return {"conversation_id": name, "reviews": [{"decision": decision, **review}]}

    path = write(
        tmp_path / "a.jsonl",
        line(),
        line("maybe", reviewed.names[1]),
        line(name="ab" * 12),
        line("edit", reviewed.names[2], messages=TURNS[:1]),
        line(at="yesterday"),
        line(at="2026-11-27T09:00:00"),
        {"id": 3},
        line(decision=3, name=reviewed.names[3]),
        [1],
    )
    path.write_text(path.read_text() + "\n{\n")
    with pytest.raises(ConfigError, match=r"^nothing was imported: line 11: no JSON"):
        read(reviewed, "plain", path)
    path.write_text(path.read_text()[:-2])
    with pytest.raises(ConfigError) as caught:
        read(reviewed, "plain", path)
    message = str(caught.value)
    for each in (
        "line 2: 'maybe' is no decision",
        "line 3: there is no conversation 'abab",
        "line 4: the edited turns make no conversation: too short",
        "line 5: 'yesterday' is no time",
        "line 6: '2026-11-27T09:00:00' has no time zone",
        "line 7: this is no record of the format plain: it needs conversation_id",
        "line 8: this is no record",
        "line 9: this is no record",
    ):
        assert each in message
    assert "line 1" not in message
    assert read_reviews(reviewed.ledger, reviewed.names[0]) == []


def test_whatever_a_line_holds_the_fault_is_one_line(reviewed: Reviewed, tmp_path: Path) -> None:
    chosen = {"from_name": "decision", "type": "choices", "value": {"choices": []}}
    odd: list[Any] = [None, 1, True, "x", {}, {"conversation_id": "a", "reviews": [3]}, {"conversation_id": "a", "reviews": 3}]
    odd += [
        {"id": 1, "responses": {"decision": 3}},
        {"id": "a", "responses": {"decision": [{"user_id": 3, "status": "submitted"}]}},
    ]
    odd += [{"data": {}, "annotations": [{"result": [{}]}]}, {"data": {}, "annotations": [{"result": [chosen]}]}]
    for kind in get_args(ReviewFormat):
        for record in odd:
            with pytest.raises(ConfigError, match=f"line 1: this is no record of the format {kind}") as caught:
                read(reviewed, kind, write(tmp_path / "a.jsonl", record))
            assert "\n" not in str(caught.value)


def test_without_a_name_it_is_whoever_reads_it_and_the_last_decision_counts(reviewed: Reviewed, tmp_path: Path) -> None:
    name = reviewed.names[0]
    reviews = [{"decision": "accept"}, {"decision": "reject", "note": None}]
    path = write(tmp_path / "a.jsonl", {"conversation_id": name, "reviews": reviews})
    later = NOW + timedelta(days=1)
    assert read(reviewed, "plain", path, "Cleo", later) == Imported(1, 0, 0)
    assert said(reviewed, name) == [("reject", "Cleo", "", None)]
    assert read_reviews(reviewed.ledger, name)[0].at == later
    assert read(reviewed, "plain", path, "Cleo", later) == Imported(0, 1, 0)


def test_no_file_is_written_over_and_what_cannot_be_read_is_said(reviewed: Reviewed, tmp_path: Path) -> None:
    export(reviewed, "plain", tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match="is there already"):
        export(reviewed, "plain", tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        export(reviewed, "plain", tmp_path / "none" / "a.jsonl")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(reviewed, "plain", tmp_path / "none")
    (tmp_path / "b.json").write_text("[1,")
    with pytest.raises(ConfigError, match="is no JSON: .* in line 1"):
        read(reviewed, "plain", tmp_path / "b.json")
    assert write_text(()) == "\n"
