"""What is accepted in figures over many answers is what the rule accepts, whatever a ledger holds."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger.made import NOW
from ledger.plain_costs import plain_accepted
from sqlalchemy import Connection, delete, insert, select

from convoforge.costs.accepted import is_accepted_by_score, read_accepted
from convoforge.costs.run_figures import RunTotals, read_totals_of_others
from convoforge.dataset.acceptance import assess
from convoforge.dataset.near_duplicates import read_neighbors
from convoforge.dataset.reasons import of_dataset, read_reasons
from convoforge.dataset.unusual_cells import list_outside
from convoforge.ledger import Ledger
from convoforge.ledger.requests import read_draws
from convoforge.ledger.tables import answers, datasets, generation_logs, metadata, near_pairs, plans, requests, reviews, runs
from convoforge.models import Status
from convoforge.planning.grid import Grid
from convoforge.planning.quality import NearDuplicates

TOPICS = "abcd"

draws = st.fixed_dictionaries(
    {
        "topic": st.sampled_from(TOPICS),
        "draw": st.integers(0, 4),
        "published": st.sampled_from((None, None, 1)),
        # requests before it that it resembles, by how many places before
        "resembles": st.dictionaries(st.integers(1, 10), st.sampled_from((0.5, 0.6, 0.9)), max_size=2),
        "state": st.sampled_from(("held", "held", "held", "pending", "failed")),
        "answers": st.lists(
            st.fixed_dictionaries(
                {
                    "kind": st.sampled_from(("ok", "ok", "ok", "ok", "refused")),
                    "score": st.sampled_from((None, 3, 6, 9, 9, 9)),
                    "content": st.sampled_from((None, 0, 1, 2, *range(10, 40))),
                    "rejection": st.sampled_from((None, None, None, None, "drop", "revise")),
                }
            ),
            max_size=2,
        ),
        # an edit by the content of its turns; an undo takes back the row before it
        "reviews": st.lists(st.sampled_from(("accept", "reject", "revise", 0, 1, 12, "undo")), max_size=3),
    }
)
worlds = st.fixed_dictionaries(
    {
        "draws": st.lists(draws, max_size=14, unique_by=lambda one: (one["topic"], one["draw"])),
        "per_cell": st.none() | st.integers(1, 3),
        "min_score": st.none() | st.sampled_from((1, 5, 7)),
        "plans": st.lists(st.sets(st.sampled_from(TOPICS), min_size=1), max_size=2),
        "run_without_plan": st.booleans(),
        "near": st.sampled_from((None, {"cluster": 0.5}, {"threshold": 0.8, "datasets": ["d1"], "action": "revise"})),
    }
)


def grid(topics: set[str]) -> Grid:
    return Grid.of(["p"], ["e"], sorted(topics), [("t", "advice")])


def write(connection: Connection, some: list[dict[str, Any]]) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(delete(table))
    number = 0
    for dataset, world in enumerate(some, 1):
        quality = {"near_duplicates": world.get("near")}
        spec = None if world["per_cell"] is None else json.dumps({"per_cell": world["per_cell"], "quality": quality})
        row = {"id": dataset, "name": f"d{dataset}", "provider": "anthropic", "created_at": NOW}
        connection.execute(insert(datasets), {**row, "min_score": world["min_score"], "spec": spec})
        for topics in world["plans"]:
            kept = {"dataset_id": dataset, "signature": "".join(topics), "grid": grid(topics).text, "created_at": NOW}
            connection.execute(insert(plans), kept)
        run = {"id": f"r{dataset}", "dataset_id": dataset, "model": "m", "started_at": NOW, "state": "completed"}
        # a dataset that has had one plan for all its runs asked for nothing else
        first = world["plans"][0] if world["plans"] else set(TOPICS)
        odd = world["run_without_plan"] or any(one["topic"] not in first for one in world["draws"])
        connection.execute(insert(runs), {**run, "plan_id": None if odd else 1})
        for one in world["draws"]:
            number += 1
            cell = f"{dataset}{one['topic']:>031}".replace(" ", "0")
            axes = {"persona": "p", "emotion": "e", "topic": one["topic"], "tier": "t", "template": "advice"}
            ids = {
                "id": number,
                "published": one.get("published"),
                "dataset_id": dataset,
                "cell": cell,
                "draw": one["draw"],
                "draw_key": f"{cell}/{one['draw']}",
            }
            held = len(one["answers"]) or None
            connection.execute(insert(requests), {**ids, **axes, "state": one["state"], "answer": held, "fingerprint": "5" * 64})
            for attempt, answer in enumerate(one["answers"], 1):
                content = None if answer["content"] is None or answer["kind"] != "ok" else f"{answer['content']:02}" * 32
                about = {"request_id": number, "attempt": attempt, "conversation_id": f"{number}", "fingerprint": "5" * 64}
                rest = {"template_version": "1", "temperature_applied": False, "generated_at": NOW, "turns": "[]"}
                score = answer["score"] if answer["kind"] == "ok" else None
                hashes = {"content_hash": content, "content_key": content and content[:12]}
                ruled = answer.get("rejection") if score is not None else None
                results = json.dumps([["filter", 1, None, None, ruled, "no"]]) if ruled else None
                scored = {"kind": answer["kind"], "score": score, "rejection": ruled, "results": results}
                connection.execute(insert(answers), {**about, **rest, **hashes, **scored})
            for back, similarity in one.get("resembles", {}).items():
                if back < number:
                    pair = {"request_id": number, "other_id": number - back, "similarity": similarity}
                    connection.execute(insert(near_pairs), pair)
            if one["answers"]:
                last = None
                for decision in one["reviews"]:
                    said = {"request_id": number, "attempt": len(one["answers"]), "at": NOW, "decision": decision}
                    if isinstance(decision, int):
                        said |= {"decision": "edit", "turns": "[]", "content_hash": f"{decision:02}" * 32}
                    elif decision == "undo":
                        said["undoes"] = last
                    last = connection.execute(insert(reviews).returning(reviews.c.id), said).scalar_one()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(worlds, min_size=1, max_size=2))
def test_what_is_counted_as_accepted_is_what_the_rule_accepts(ledger: Ledger, some: list[dict[str, Any]]) -> None:
    ledger.write(write, some)
    by_rule = ledger.read(plain_accepted)
    found = ledger.read(read_accepted)

    def counted(connection: Connection) -> set[int]:
        query = select(requests.c.id).join(
            answers, (answers.c.request_id == requests.c.id) & (answers.c.attempt == requests.c.answer)
        )
        by_score = query.join(datasets, datasets.c.id == requests.c.dataset_id).where(is_accepted_by_score())
        return {*connection.execute(by_score).scalars()} - found.judged | found.accepted

    assert ledger.read(counted) == by_rule


def write_logs(connection: Connection) -> None:
    """A paid attempt behind each answer."""
    how = {"model": "m", "template": "t", "status": "succeeded", "billing": "billed", "started_at": NOW}
    query = select(answers.c.request_id, answers.c.attempt, requests.c.dataset_id).join(
        requests, requests.c.id == answers.c.request_id
    )
    for request, attempt, dataset in connection.execute(query).all():
        ids = {"request_id": request, "attempt": attempt, "run_id": f"r{dataset}", "dataset_id": dataset, "owner": "o"}
        connection.execute(insert(generation_logs), {**ids, **how, "provider": "anthropic"})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds)
def test_reasons_count_what_the_rule_rejects(ledger: Ledger, world: dict[str, Any]) -> None:
    def rejected(connection: Connection) -> Counter[str]:
        write(connection, [world])
        write_logs(connection)
        cells = {*connection.execute(select(requests.c.cell)).scalars()} - list_outside(connection, 1)
        status = assess(
            sorted(cells),
            read_draws(connection, 1),
            min_score=world["min_score"] or 1,
            per_cell=1 if world["per_cell"] is None else world["per_cell"],
            max_draws=0,
            near=read_neighbors(connection, 1, NearDuplicates(**world["near"]) if world["near"] and world["per_cell"] else None),
        )
        words = {Status.NEEDS_REVISION: "needs revision", Status.DROPPED: "dropped"}
        return Counter(words[one.status] for one in status.rejected if one.status in words)

    expected = ledger.write(rejected)
    found = Counter[str]()
    for one in ledger.read(read_reasons, of_dataset(1)):
        found[one.what] += one.count
    assert found == expected


def test_what_other_processes_did_for_a_run_goes_by_score_and_leaves_out_ones_own(ledger: Ledger) -> None:
    good = {"kind": "ok", "score": 9, "content": 1}

    def draw(topic: str, number: int, **answer: Any) -> dict[str, Any]:
        return {"topic": topic, "draw": number, "state": "held", "answers": [{**good, **answer}], "reviews": []}

    some = [draw("a", 0), draw("b", 0), draw("b", 1, content=2), draw("b", 2, content=3), draw("c", 0, score=3, content=4)]
    world = {"draws": some, "per_cell": 1, "min_score": 6, "plans": [], "run_without_plan": False}

    def with_logs(connection: Connection) -> None:
        write(connection, [world])
        write_logs(connection)

    ledger.write(with_logs)
    assert ledger.read(read_totals_of_others, "r1", "me", 6) == RunTotals(generated=5, accepted=4, needs_revision=1)
    assert ledger.read(read_totals_of_others, "r1", "o", 6) == RunTotals()
