"""The ledger's tables. Money is integer pico-dollars, times are UTC to the microsecond, texts are UTF-8.

One schema for SQLite and PostgreSQL. New ledgers are created from it; once 1.0 is released, each change also needs a migration.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from secrets import token_bytes

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    text,
    true,
)

HEAD = "0011"
"""Revision of the newest migration, and so this release's schema version. Revisions increase, and are compared as text."""


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite has no time zones and stores it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


metadata = MetaData()

# SQLite assigns ids only to an INTEGER PRIMARY KEY.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _pico(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _counts(*names: str) -> list[Column[int]]:
    return [Column(name, Integer, nullable=False, server_default="0") for name in names]


def _amounts(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


datasets = Table(
    "datasets",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("provider", String(16), nullable=False),
    Column("spec", Text),
    Column("min_score", Integer),
    Column("pseudonym_key", LargeBinary, nullable=False, default=partial(token_bytes, 32)),  # a secret; published nowhere
    Column("created_at", UTCDateTime, nullable=False),
    UniqueConstraint("name", "provider"),
)

plans = Table(
    "plans",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("dataset_id", _Id, ForeignKey("datasets.id"), nullable=False),
    Column("signature", String(64), nullable=False),
    Column("grid", Text, nullable=False),
    # cell numbers in the grid, as a JSON list; null means all of its cells
    Column("cells", Text),
    Column("created_at", UTCDateTime, nullable=False),
    Index("ix_plans_dataset", "dataset_id", "signature"),
)

owners = Table(
    "owners",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("host", String(128), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", Float, nullable=False),
    Column("lease_until", UTCDateTime, nullable=False),
    Column("run_id", String(32)),  # the run it works on
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("dataset_id", _Id, ForeignKey("datasets.id"), nullable=False),
    Column("owner", String(32)),
    Column("flow_run_id", String(64)),
    Column("spec", Text),
    Column("model", String(200), nullable=False),
    Column("started_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Column("state", String(16), nullable=False),
    Column("message", Text),
    Column("report", Text),
    Column("plan_id", _Id),
    Column("endpoint", String(300)),  # URL of its requests
    Column("sources", Text),  # hash of each file that its prompts come from, as JSON
    Column("note", Text),  # what its process last said of how far it is, as JSON
    Index("ix_runs_dataset", "dataset_id", "started_at"),
)

requests = Table(
    "requests",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("dataset_id", _Id, ForeignKey("datasets.id"), nullable=False),
    Column("draw_key", String(80), nullable=False, unique=True),
    Column("cell", String(64), nullable=False),
    Column("draw", Integer, nullable=False),
    *(Column(axis, String(200), nullable=False) for axis in ("persona", "emotion", "topic", "tier")),
    Column("template", String(64), nullable=False),
    Column("lines", Text),  # the variation lines of the cell's first draw, by their positions; null: its values decide them
    Column("purpose", String(12), nullable=False, server_default="conversation"),  # or judge: then `cell` is the judgment's key
    Column("request", Text),
    Column("state", String(12), nullable=False),
    Column("owner", String(32)),
    Column("answer", Integer),
    Column("fingerprint", String(64)),
    Column("reason", Text),
    Column("published", Integer),  # the first version that has held it
    Index("ix_requests_dataset", "dataset_id", "state"),
    Index("ix_requests_owner", "owner"),
    Index("ix_requests_cell", "dataset_id", "cell"),
)

generation_logs = Table(
    "generation_logs",
    metadata,
    Column("request_id", _Id, ForeignKey("requests.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("run_id", String(32), nullable=False),
    Column("dataset_id", _Id, nullable=False),
    Column("owner", String(32), nullable=False),
    Column("provider", String(16), nullable=False),
    Column("model", String(200), nullable=False),
    Column("template", String(64), nullable=False),
    Column("purpose", String(12), nullable=False, server_default="conversation"),  # its request's
    Column("api_key", String(16)),
    Column("batch_id", String(64)),
    Column("status", String(12), nullable=False),
    Column("billing", String(8), nullable=False),
    Column("error_kind", String(64)),
    Column("error", Text),
    Column("http_status", Integer),
    Column("api_request_id", String(128)),
    Column("stop_reason", String(64)),
    Column("answered_model", String(200)),  # the model's name in the answer, if not the requested one
    Column("usage_known", Boolean, nullable=False, server_default=true()),
    Column("inference_geo", String(32)),  # this and the next two: billing terms as named in the answer
    Column("service_tier", String(32)),
    Column("speed", String(32)),
    Column("started_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Column("latency_ms", Integer),
    *_counts("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens"),
    *_counts("thinking_tokens"),  # of the output tokens
    Column("price", String(128)),
    _pico("cost_pico"),
    _pico("reserved_pico"),  # while it is open
    _pico("maybe_pico"),  # after it has ended with billing maybe: the worst case of its unknown cost
    Index("ix_logs_run", "run_id"),
    Index("ix_logs_time", "started_at", "provider"),
    Index("ix_logs_open", "status", "owner"),
)

_REJECTED = text("rejection IS NOT NULL")

answers = Table(
    "answers",
    metadata,
    Column("request_id", _Id, ForeignKey("requests.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("conversation_id", String(32), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("turns", Text),
    Column("system", Text),
    Column("raw_text", Text),
    Column("reason", Text),
    Column("template_version", String(80), nullable=False),
    Column("drawn", Text),  # parameters and variation lines in the prompt, as JSON
    Column("temperature", Float),
    Column("temperature_applied", Boolean, nullable=False),
    Column("generated_at", UTCDateTime, nullable=False),
    # names and versions of the scorers that gave the next three columns; null if not scored
    Column("rubric", Text),
    Column("score", Integer),
    Column("rejection", String(8)),  # a filter's verdict: drop, revise or unjudged; null if all filters keep it
    Column("judge_key", String(80)),  # draw key of the request that judges it; null where no judge is to be asked
    Column("results", Text),  # of each scorer, as JSON
    Column("content_hash", String(64)),
    # beginning of the hash: enough to find duplicates, in an index of less than half the size
    Column("content_key", String(12)),
    # all columns that costs need of an answer: a million are read without their texts
    Index("ix_answers_outcome", "request_id", "attempt", "kind", "score"),
    Index("ix_answers_conversation", "conversation_id"),
    Index("ix_answers_content", "content_key", "kind"),
    Index("ix_answers_rubric", "kind", "rubric"),
    Index("ix_answers_rejection", "rejection", sqlite_where=_REJECTED, postgresql_where=_REJECTED),
)

IS_HELD = and_(answers.c.request_id == requests.c.id, answers.c.attempt == requests.c.answer)
"""Joins a request with its answer."""

IS_GENERATED = requests.c.purpose == "conversation"
"""Leaves out what was sent to a judge."""

IS_ATTEMPT_OF = and_(generation_logs.c.request_id == answers.c.request_id, generation_logs.c.attempt == answers.c.attempt)
"""Joins an answer with the attempt that brought it."""

signatures = Table(
    "signatures",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("request_id", _Id, ForeignKey("requests.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Index("ix_signatures_request", "request_id", "attempt", "version"),
    sqlite_autoincrement=True,  # an id is never given twice
)
"""MinHash signatures of the conversations that requests hold. A replaced one gets a new id, so ids tell what is new."""

near_pairs = Table(
    "near_pairs",
    metadata,
    Column("request_id", _Id, ForeignKey("requests.id"), primary_key=True),
    Column("other_id", _Id, ForeignKey("requests.id"), primary_key=True),
    Column("similarity", Float, nullable=False),
    Index("ix_near_pairs_other", "other_id"),
)
"""Requests whose conversations resemble each other, 0 to 1; `other_id` is the first by (draw, cell), or of an earlier dataset."""

reviews = Table(
    "reviews",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("request_id", _Id, ForeignKey("requests.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("decision", String(8), nullable=False),  # accept, reject, revise, edit, or undo
    Column("reviewer", String(200), nullable=False, server_default=""),
    Column("note", Text),
    Column("turns", Text),  # of an edit
    Column("content_hash", String(64)),  # of these turns
    Column("undoes", _Id),  # the row that an undo takes back
    Column("at", UTCDateTime, nullable=False),
    Index("ix_reviews_request", "request_id", "attempt"),
)
"""What people have decided on conversations. Rows are only added. See `reviews` beside this file."""

versions = Table(
    "versions",
    metadata,
    Column("dataset_id", _Id, ForeignKey("datasets.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("run_id", String(32)),
    Column("path", Text),
    Column("sha256", String(64)),
    Column("rows", Integer),
    Column("reserved_at", UTCDateTime, nullable=False),
    Column("published_at", UTCDateTime),
)

budgets = Table(
    "budgets",
    metadata,
    Column("scope", String(80), primary_key=True),
    Column("limit_pico", BigInteger),
    _pico("reserved_pico"),
    _pico("spent_pico"),
    _pico("maybe_pico"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("run_id", String(32), ForeignKey("runs.id"), nullable=False),
    Column("api_batch_id", String(128)),
    Column("state", String(12), nullable=False),
    Column("requests", Integer, nullable=False),
    Column("created_at", UTCDateTime, nullable=False),
    Column("ended_at", UTCDateTime),
    Column("api_key", String(16)),
    Column("endpoint", String(300)),
    Column("api_status", String(32)),  # as the API gives it
    Column("api_ended_at", UTCDateTime),
    Column("looked_at", UTCDateTime),
    Column("missing_since", UTCDateTime),  # the API has not had it at any check since then
    Column("trouble", Text),  # the problem at the last check
    Column("given_up_at", UTCDateTime),  # earliest time at which its requests are sent again
    Index("ix_batches_state", "state"),
)

models = Table(
    "models",
    metadata,
    Column("provider", String(16), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("facts", Text, nullable=False),  # as the API gives them, as JSON
    Column("asked_at", UTCDateTime, nullable=False),
)

rate_limits = Table(
    "rate_limits",
    metadata,
    Column("name", String(400), primary_key=True),
    # the longest window of any process, in seconds: older permits are deleted
    Column("window_seconds", Float, nullable=False),
    # microseconds since 1970
    Column("paused_until", BigInteger, nullable=False),
)

permits = Table(
    "permits",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("limit_name", String(400), nullable=False),
    # `at` is in microseconds since 1970
    *_amounts("at", "requests", "input_tokens", "output_tokens"),
    Index("ix_permits", "limit_name", "at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("nonce", String(32), nullable=False),
    Column("owner", String(32)),
    Column("status", Integer),
    Column("response", Text),
    Column("created_at", UTCDateTime, nullable=False),
    Index("ix_idempotency_keys_created", "created_at"),
)
"""Idempotency keys of the HTTP API's callers, and the responses that are repeated for them. `key` and `fingerprint` (of route and
body) are SHA-256."""

request_batches = Table(
    "request_batches",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("dataset_id", _Id, nullable=False),
    Column("run_id", String(32), nullable=False),
    Column("started_at", UTCDateTime, nullable=False),
    Column("finished_at", UTCDateTime),
    Column("total", Integer, nullable=False),
    *_counts("successful", "failed", "skipped"),
    _pico("cost_pico"),
    Column("requests", Text, nullable=False),
    Index("ix_request_batches_dataset", "dataset_id", "started_at"),
)
"""Batches of 1 to 100 requests of the HTTP API: their names as JSON, counts and cost."""

audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", UTCDateTime, nullable=False),
    Column("who", String(64), nullable=False),
    Column("method", String(16), nullable=False),
    Column("route", String(200), nullable=False),
    Column("object", String(200), nullable=False),
    Column("status", Integer, nullable=False),
)
"""Requests to the HTTP API that may change something or were not allowed."""
