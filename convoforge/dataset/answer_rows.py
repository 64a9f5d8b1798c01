"""Reads the small values of a dataset's answers, one row each, and their texts; of earlier rows it reads only what has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import polars as pl
from sqlalchemy import Connection, Select, select

from convoforge.ledger.answers import read_answers
from convoforge.ledger.requests import split_chunks
from convoforge.ledger.tables import IS_ATTEMPT_OF, IS_GENERATED, IS_HELD, answers, generation_logs, requests
from convoforge.planning.draws import Draw
from convoforge.planning.spec import AXES

_AT_ONCE = 5_000
_SCHEMA: Mapping[str, Any] = {
    "request_id": pl.Int64,
    **dict.fromkeys((*AXES, "template"), pl.Categorical),
    "attempt": pl.Int32,
    "conversation_id": pl.String,
    "score": pl.Int64,
    "generated_at": pl.Datetime("us", "UTC"),
    "run_id": pl.String,
    "cost_pico": pl.Int64,
    "stamp": pl.Int64,
    "status": pl.Categorical,
    "reason": pl.String,
    "reviewed": pl.Categorical,
    "flags": pl.String,
}


def read_rows(
    connection: Connection,
    dataset_id: int,
    draws: Iterable[Draw],
    verdicts: Mapping[int, tuple[str, str]],
    before: pl.DataFrame | None,
) -> pl.DataFrame:
    """A row for each answer that has a verdict: a status and a reason, by request. `before` are earlier rows, whose answers are not read
    in full again."""
    logs = generation_logs.c
    axes = (requests.c[name] for name in (*AXES, "template"))
    own = (answers.c.attempt, answers.c.conversation_id, answers.c.score, answers.c.generated_at, logs.run_id, logs.cost_pico)
    query = _held(dataset_id, requests.c.id, *axes, *own, answers.c.rubric, answers.c.rejection)
    rows = [
        (*row[:-2], hash((row.attempt, row.score, row.rubric, row.rejection)))
        for row in connection.execute(query.join(generation_logs, IS_ATTEMPT_OF).order_by(requests.c.id))
        if row.id in verdicts  # what came after the draws were read is in the next one
    ]
    columns = [name for name in _SCHEMA if name not in ("status", "reason", "reviewed", "flags")]
    frame = pl.DataFrame(rows, {name: _SCHEMA[name] for name in columns}, orient="row")
    ids = frame["request_id"].to_list()
    known = _keep_flags(frame, before)
    flags = known | dict(_read_flags(connection, dataset_id, [one for one in ids if one not in known]))
    decisions = {draw.request_id: draw.decision or "" for draw in draws}
    return frame.with_columns(
        pl.Series("status", [verdicts[one][0] for one in ids], pl.Categorical),
        pl.Series("reason", [verdicts[one][1] for one in ids], pl.String),
        pl.Series("reviewed", [decisions[one] for one in ids], pl.Categorical),
        pl.Series("flags", [flags.get(one, "") for one in ids], pl.String),
    )


def _keep_flags(frame: pl.DataFrame, before: pl.DataFrame | None) -> dict[int, str]:
    """Request → what an earlier snapshot knows of the answers that are the same."""
    same = ["request_id", "stamp"]
    if before is None:
        return {}
    return dict(frame.select(same).join(before.select(*same, "flags"), on=same).select("request_id", "flags").iter_rows())


def _read_flags(connection: Connection, dataset_id: int, ids: list[int]) -> Iterable[tuple[int, str]]:
    """Request → names of the filters that have found something, each between bars."""
    for request_id, results in _read_parts(connection, dataset_id, ids, answers.c.results):
        if results and any(word in results for word in ('"drop"', '"revise"', '"mark"', '"redact"')):
            found = (name for name, _, _, _, verdict, _ in orjson.loads(results) if verdict not in (None, "keep"))
            yield request_id, f"|{'|'.join(sorted(found))}|"


def read_texts(connection: Connection, dataset_id: int, frame: pl.DataFrame, before: pl.DataFrame | None) -> pl.Series:
    """The texts as they would be published, in lower case, in the order of the frame. `before` are earlier rows with their `text`. What is
    edited is read each time: it is little."""
    same, is_edited = ("request_id", "attempt"), pl.col("reviewed").cast(pl.String) == "edit"
    parts = [pl.DataFrame(schema={"request_id": pl.Int64, "text": pl.String})]
    if before is not None:
        held = before.filter(~is_edited).select(*same, "text")
        parts = [frame.filter(~is_edited).select(same).join(held, on=same).select("request_id", "text")]
    edited = frame.filter(is_edited)["request_id"].to_list()
    known = {*parts[0]["request_id"], *edited}
    missing = [one for one in frame["request_id"] if one not in known]
    for start in range(0, len(missing), _AT_ONCE):  # so that the rows of few are in memory twice
        rows = _read_parts(connection, dataset_id, missing[start : start + _AT_ONCE], answers.c.turns, answers.c.raw_text)
        parts.append(_frame_texts((one, turns, raw) for one, turns, raw in rows))
    parts.append(_frame_texts((row.id, row.edited or row.turns, row.raw_text) for row in read_answers(connection, edited)))
    return (
        frame.select("request_id")
        .join(pl.concat(parts), on="request_id", how="left", maintain_order="left")["text"]
        .fill_null("")
    )


def _frame_texts(rows: Iterable[tuple[int, str | None, str | None]]) -> pl.DataFrame:
    texts = [(one, _join_turns(turns) if turns else (raw or "").lower()) for one, turns, raw in rows]
    return pl.DataFrame(texts, {"request_id": pl.Int64, "text": pl.String}, orient="row")


def _join_turns(turns: str) -> str:
    return "\n".join(content for _, content in orjson.loads(turns)).lower()


def _read_parts(connection: Connection, dataset_id: int, ids: list[int], *columns: Any) -> Iterable[Any]:
    query = _held(dataset_id, requests.c.id, *columns)
    if len(ids) >= _AT_ONCE:  # a range is read in one go, with what is not wanted of it
        wanted = frozenset(ids)
        rows = connection.execute(query.where(requests.c.id.between(ids[0], ids[-1])).execution_options(yield_per=_AT_ONCE))
        yield from (row for row in rows if row[0] in wanted)
        return
    for chunk in split_chunks(ids):
        yield from connection.execute(query.where(requests.c.id.in_(chunk)))


def _held(dataset_id: int, *columns: Any) -> Select[Any]:
    chosen = select(*columns).select_from(requests).join(answers, IS_HELD)
    return chosen.where(requests.c.dataset_id == dataset_id, IS_GENERATED)
