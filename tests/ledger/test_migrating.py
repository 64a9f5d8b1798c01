"""A ledger of an older release, with what was paid in it: brought up to date, it says the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from ledger.plain_costs import plain_costs, read_rows
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text

from convoforge.costs.period import GROUPS
from convoforge.costs.summary import cost_summary
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import read_quality
from convoforge.ledger.connect import _sqlite_pragmas
from convoforge.ledger.migrations import _scripts
from convoforge.ledger.tables import HEAD
from convoforge.planning.spec import QualityRule
from convoforge.scoring import Rubric

NOW = datetime(2026, 11, 22, 23, 58, tzinfo=UTC)


def at_version(connection: Connection, version: str) -> None:
    """Migrate an empty database as far as the release did whose newest version that was."""
    context = MigrationContext.configure(
        connection, opts={"fn": lambda found, _context: list(_scripts()._upgrade_revs(version, found or "base"))}
    )
    with Operations.context(context):
        context.run_migrations()


def old_ledger(url: str) -> None:
    """A ledger at 0001: two runs, every way a call can end, over midnight."""
    engine: Engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_pragmas)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))

    def put(connection: Connection, table: str, **values: Any) -> None:
        given = {
            name: f"{value:%Y-%m-%d %H:%M:%S.%f}{'' if engine.dialect.name == 'sqlite' else '+00'}"
            if isinstance(value, datetime)
            else value
            for name, value in values.items()
        }
        names, marks = ", ".join(given), ", ".join(f":{name}" for name in given)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), given)

    with engine.begin() as connection:
        at_version(connection, "0001")
        put(connection, "datasets", id=1, name="advice", provider="anthropic", min_score=6, created_at=NOW)
        axes = dict.fromkeys(("persona", "emotion", "topic", "tier", "template"), "x")
        for n in range(12):
            ways = [
                ("succeeded", "billed"),
                ("failed", "none"),
                ("failed", "maybe"),
                ("failed", "billed"),
                ("lost", "maybe"),
                ("open", "maybe"),
            ]
            status, billing = ways[n % 6]
            answered = status == "succeeded"
            put(
                connection,
                "requests",
                **{"id": n, "dataset_id": 1, "wanted": f"{n}/0", "cell": f"{n}", "draw": 0, **axes},
                state="held" if answered else "pending",
                answer=1 if answered else None,
            )
            put(
                connection,
                "generation_logs",
                request_id=n,
                attempt=1,
                run_id=f"run{n % 2}",
                dataset_id=1,
                owner="o",
                provider="anthropic",
                model="m",
                template=f"t{n % 2}",
                batch_id="b" if n == 6 else None,
                status=status,
                billing=billing,
                started_at=NOW + timedelta(minutes=n),
                latency_ms=None if status == "open" else 100 + n,
                price=None if n == 1 else "2/10/2.5/4/0.1",
                cost_pico=10**9 + n if billing == "billed" else 0,
                input_tokens=n,
                cache_read_tokens=2 * n if answered else 0,
                reserved_pico=10**10 if status == "open" else 0,
            )
            if answered:
                put(
                    connection,
                    "answers",
                    request_id=n,
                    attempt=1,
                    conversation_id=f"c{n}",
                    sent="5" * 64,
                    kind="ok",
                    score=7,
                    template_version="1",
                    temperature_applied=False,
                    generated_at=NOW,
                    content_hash="5a" * 32,
                )
        put(connection, "budgets", scope="run:run0", spent_pico=1, maybe_pico=7 * 10**10 + 1)
        put(connection, "budgets", scope="run:run1", spent_pico=1, maybe_pico=0)
        put(connection, "runs", id="run0", dataset_id=1, model="m", started_at=NOW, state="running")
        put(connection, "batches", id="b", run_id="run0", state="made", requests=1, created_at=NOW)
    engine.dispose()


def test_an_older_ledger_is_migrated_with_the_same_costs(database_url: str) -> None:
    old_ledger(database_url)
    with Ledger(database_url) as ledger:
        assert ledger.read(lambda c: c.execute(text("SELECT version_num FROM alembic_version")).scalar_one()) == HEAD
        rows = ledger.read(read_rows)
        assert (len(rows.logs), len(rows.answers)) == (12, 2)
        for by in (None, *GROUPS):
            for since, until in ((None, None), (NOW + timedelta(minutes=1), NOW + timedelta(minutes=8))):
                assert ledger.read(cost_summary, since, until, by=by).as_json() == plain_costs(rows, since, until, by)
        summary = ledger.read(cost_summary)
        assert (summary.attempts, summary.accepted, summary.waste.dropped.conversations) == (12, 1, 1)
        assert "api_key" in [column["name"] for column in inspect(ledger.engine).get_columns("batches")]


def test_the_scores_of_an_older_ledger_become_results_of_three_scorers(database_url: str) -> None:
    old_ledger(database_url)
    engine = create_engine(database_url)
    with engine.begin() as connection:
        change = "UPDATE answers SET rubric = 1, score_turns = {}, score_length = {}, score_structure = 4, reasons = {} WHERE request_id = {}"
        connection.execute(text(change.format(3, 2, """'["45 characters a turn on average"]'""", 0)))
        connection.execute(text(change.format(3, 3, "NULL", 6)))
    engine.dispose()
    with Ledger(database_url) as ledger:
        rows = {row["request_id"]: row for row in ledger.read(read_rows).answers}
    assert {row["rubric"] for row in rows.values()} == {Rubric.of(QualityRule().scorers).version}
    first, second = (read_quality(rows[request]["score"], rows[request]["results"]) for request in (0, 6))
    assert first is not None and second is not None
    assert (first.score, first.reasons) == (7, ("45 characters a turn on average",))
    assert [(one.name, one.version, one.points, one.maximum, one.reason) for one in first.results] == [
        ("turns", 1, 3, 3, ""),
        ("length", 1, 2, 3, "45 characters a turn on average"),
        ("structure", 1, 4, 4, ""),
    ]
    assert (second.reasons, second.rejection, rows[0]["rejection"]) == ((), None, None)


def test_what_a_run_may_have_been_billed_is_spread_over_its_calls(database_url: str) -> None:
    """It was kept by run alone. Of calls that are open the worst case is known."""
    old_ledger(database_url)
    with Ledger(database_url) as ledger:
        groups = ledger.read(cost_summary, by="run").groups
        logs = {log["request_id"]: log["maybe_pico"] for log in ledger.read(read_rows).logs}
    assert groups is not None
    maybe = {name: group.waste.maybe_billed for name, group in groups.items()}
    # in run0 four calls ended so; in run1 none has, and two are open
    assert (maybe["run0"].attempts, int(maybe["run0"].at_most_usd * 10**12)) == (4, 7 * 10**10 + 1)
    assert (maybe["run1"].attempts, int(maybe["run1"].at_most_usd * 10**12)) == (2, 2 * 10**10)
    assert [logs[n] for n in (2, 4, 8, 10)] == [17_500_000_000 + 1, 17_500_000_000, 17_500_000_000, 17_500_000_000]
    assert sum(logs.values()) == 7 * 10**10 + 1
