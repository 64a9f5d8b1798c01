"""Costs are computed from the attempts: the hourly rollups go, and what answers repeated of their attempts."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Drop what nothing reads any more. Every figure is in the attempts."""
    op.drop_index("ix_answers_page", table_name="answers")
    for name in ("page", "paid_pico", "latency_ms"):
        op.drop_column("answers", name)
    op.drop_table("pages")
    op.create_index("ix_requests_cell", "requests", ["dataset_id", "cell"])
    op.create_index("ix_answers_outcome", "answers", ["request_id", "attempt", "kind", "score"])
