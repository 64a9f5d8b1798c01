"""What scorers say is kept by their names and versions, not in columns of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_AT_ONCE = 1_000
_WHERE = "rejection IS NOT NULL"
_OLD = ("rubric_number", "score_turns", "score_length", "score_structure", "reasons")


def upgrade() -> None:
    """Write what three columns say as results of three scorers."""
    op.alter_column("answers", "rubric", new_column_name="rubric_number")
    op.add_column("answers", sa.Column("rubric", sa.Text(), nullable=True))
    op.add_column("answers", sa.Column("rejection", sa.String(length=8), nullable=True))
    op.add_column("answers", sa.Column("results", sa.Text(), nullable=True))
    connection = op.get_bind()
    write = sa.text("UPDATE answers SET rubric = :rubric, results = :results WHERE request_id = :request AND attempt = :attempt")
    for rows in _read(connection):
        connection.execute(write, [_converted(row) for row in rows])
    for name in _OLD:
        op.drop_column("answers", name)
    op.create_index("ix_answers_rubric", "answers", ["kind", "rubric"])
    op.create_index(
        "ix_answers_rejection", "answers", ["rejection"], sqlite_where=sa.text(_WHERE), postgresql_where=sa.text(_WHERE)
    )


def _read(connection: sa.Connection) -> Iterator[list[Any]]:
    """The answers with a score, some at a time."""
    after = (-1, -1)
    while True:
        query = sa.text(
            "SELECT request_id, attempt, rubric_number, score_turns, score_length, score_structure, reasons FROM answers "
            "WHERE score_turns IS NOT NULL AND (request_id > :request OR (request_id = :request AND attempt > :attempt)) "
            "ORDER BY request_id, attempt LIMIT :most"
        )
        rows = list(connection.execute(query, {"request": after[0], "attempt": after[1], "most": _AT_ONCE}))
        if not rows:
            return
        after = rows[-1].request_id, rows[-1].attempt
        yield rows


def _converted(row: Any) -> dict[str, Any]:
    """Reasons stood in the order of the parts that had lost points."""
    reasons = iter(json.loads(row.reasons) if row.reasons else ())
    parts = (("turns", row.score_turns, 3), ("length", row.score_length, 3), ("structure", row.score_structure, 4))
    results = [
        [name, row.rubric_number or 0, points, most, None, next(reasons, "") if points < most else ""]
        for name, points, most in parts
    ]
    return {
        "request": row.request_id,
        "attempt": row.attempt,
        "rubric": ",".join(f"{name}={version}" for name, version, *_ in results),
        "results": json.dumps(results, ensure_ascii=False, separators=(",", ":")),
    }
