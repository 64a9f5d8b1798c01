"""What today's API says of a call."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add what is new."""
    op.add_column("generation_logs", sa.Column("answered_model", sa.String(length=200), nullable=True))
    op.add_column("generation_logs", sa.Column("usage_known", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column("answers", sa.Column("template_system", sa.Boolean(), nullable=True))
    _share_rate()
    _thinking()
    _message_batches()
    _keep_plans()
    _terms()
    _keep_responses()
    _keep_model_facts()


def _share_rate() -> None:
    """What processes without a Prefect server count their rate by."""
    op.create_table(
        "rate_limits",
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("window_seconds", sa.Float(), nullable=False),
        sa.Column("paused_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "permits",
        sa.Column("id", _Id, nullable=False),
        sa.Column("limit_name", sa.String(length=400), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_permits", "permits", ["limit_name", "at"], unique=False)


def _thinking() -> None:
    """How much of the output was thought."""
    op.add_column("generation_logs", sa.Column("thinking_tokens", sa.Integer(), server_default="0", nullable=False))
    op.add_column("pages", sa.Column("thinking_tokens", sa.BigInteger(), server_default="0", nullable=False))


def _message_batches() -> None:
    """Where a batch was made, and what the last look at it found."""
    for name, kind in (("endpoint", sa.String(length=300)), ("api_status", sa.String(length=32)), ("trouble", sa.Text())):
        op.add_column("batches", sa.Column(name, kind, nullable=True))
    for name in ("api_ended_at", "looked_at", "missing_since", "given_up_at"):
        op.add_column("batches", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def _keep_plans() -> None:
    """Which cells a sample has, and which plan a run goes by."""
    op.create_table(
        "plans",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("dataset_id", _Id, sa.ForeignKey("datasets.id"), nullable=False),
        sa.Column("signature", sa.String(64), nullable=False),
        sa.Column("grid", sa.Text(), nullable=False),
        sa.Column("cells", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_plans_dataset", "plans", ["dataset_id", "signature"])
    op.add_column("runs", sa.Column("plan_id", _Id, nullable=True))


def _keep_model_facts() -> None:
    """What the API tells of its models."""
    op.create_table(
        "models",
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("provider", "model"),
    )


def _terms() -> None:
    """What an answer was billed by beside its tokens."""
    for name in ("inference_geo", "service_tier", "speed"):
        op.add_column("generation_logs", sa.Column(name, sa.String(length=32), nullable=True))


def _keep_responses() -> None:
    """What callers of the HTTP API get again: by a key of theirs, by a conversation's id, by the batch it came in."""
    op.create_index("ix_answers_conversation", "answers", ["conversation_id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(32)),
        sa.Column("status", sa.Integer()),
        sa.Column("response", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created_at"])
    op.create_table(
        "request_batches",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("dataset_id", _Id, nullable=False),
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("total", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False, server_default="0") for name in ("successful", "failed", "skipped")),
        sa.Column("cost_pico", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("requests", sa.Text(), nullable=False),
    )
    op.create_index("ix_request_batches_dataset", "request_batches", ["dataset_id", "started_at"])
