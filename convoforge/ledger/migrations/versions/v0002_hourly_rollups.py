"""The pages that attempts are added up on, what may have been billed kept with its attempt, and the key that a batch was sent with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_PAGE = ("run_id", "hour", "template", "status", "billing", "dataset_id", "provider", "model", "price", "batched")
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
_SUMS = (*_TOKENS, "cost_pico", "maybe_pico")


def upgrade() -> None:
    """Add what is new, and fill it from the rows that are there."""
    op.add_column("batches", sa.Column("api_key", sa.String(length=16), nullable=True))
    op.add_column("generation_logs", sa.Column("maybe_pico", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("answers", sa.Column("content_key", sa.String(length=12), nullable=True))
    op.add_column("answers", sa.Column("page", _Id, nullable=True))
    op.add_column("answers", sa.Column("paid_pico", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("answers", sa.Column("latency_ms", sa.Integer(), nullable=True))
    op.create_table(
        "pages",
        sa.Column("id", _Id, nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("template", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("billing", sa.String(length=8), nullable=False),
        sa.Column("dataset_id", _Id, nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("price", sa.String(length=128), nullable=False),
        sa.Column("batched", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("retries", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_pages", "pages", list(_PAGE), unique=True)
    _keep_the_worst()
    _fill()
    op.create_index("ix_answers_page", "answers", ["page", "kind", "score", "paid_pico", "latency_ms"], unique=False)
    op.create_index("ix_answers_content", "answers", ["content_key", "kind"], unique=False)


def _keep_the_worst() -> None:
    """What may have been billed was kept by run alone: it is spread evenly over the run's attempts, with the rest on the first."""
    connection = op.get_bind()
    maybe = "run_id = :run AND billing = 'maybe' AND status <> 'open'"
    runs = connection.execute(sa.text("SELECT scope, maybe_pico FROM budgets WHERE scope LIKE 'run:%' AND maybe_pico > 0")).all()
    for scope, pico in runs:
        run = {"run": scope.removeprefix("run:")}
        count, first = connection.execute(
            sa.text(f"SELECT count(*), min(started_at) FROM generation_logs WHERE {maybe}"),  # noqa: S608 - a text of ours
            run,
        ).one()
        if not count:
            continue
        each, rest = divmod(int(pico), count)
        connection.execute(sa.text(f"UPDATE generation_logs SET maybe_pico = :pico WHERE {maybe}"), {**run, "pico": each})  # noqa: S608 - as above
        one = connection.execute(
            sa.text(f"SELECT request_id, attempt FROM generation_logs WHERE {maybe} AND started_at = :first LIMIT 1"),  # noqa: S608 - as above
            {**run, "first": first},
        ).one()
        connection.execute(
            sa.text(
                "UPDATE generation_logs SET maybe_pico = maybe_pico + :rest WHERE request_id = :request AND attempt = :attempt"
            ),
            {"rest": rest, "request": one.request_id, "attempt": one.attempt},
        )


def _fill() -> None:
    sqlite = op.get_context().dialect.name == "sqlite"
    hour = "substr(started_at, 1, 13) || ':00:00.000000'" if sqlite else "date_trunc('hour', started_at, 'UTC')"
    own = {"hour": hour, "price": "coalesce(generation_logs.price, '')", "batched": "(batch_id IS NOT NULL)"}
    on = {name: own.get(name, f"generation_logs.{name}") for name in _PAGE}
    sums = ", ".join(f"sum({name})" for name in _SUMS)
    op.execute(
        f"INSERT INTO pages ({', '.join(_PAGE)}, attempts, retries, {', '.join(_SUMS)}) "  # noqa: S608 - texts of ours
        f"SELECT {', '.join(on.values())}, count(*), sum(CASE WHEN attempt > 1 THEN 1 ELSE 0 END), {sums} FROM generation_logs "
        f"WHERE status IN ('succeeded', 'failed') GROUP BY {', '.join(on.values())}"
    )
    same = " AND ".join(f"pages.{name} = {column}" for name, column in on.items())
    op.execute(
        "UPDATE answers SET content_key = substr(answers.content_hash, 1, 12), page = pages.id, "  # noqa: S608 - as above
        "paid_pico = generation_logs.cost_pico, latency_ms = generation_logs.latency_ms "
        "FROM generation_logs, pages WHERE generation_logs.request_id = answers.request_id "
        f"AND generation_logs.attempt = answers.attempt AND {same}"
    )
