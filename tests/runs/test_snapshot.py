"""How far a run is, read from a ledger while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from followed import GoingRun
from rich.console import Console
from sqlalchemy import update

from convoforge.cli.run_views import OneRun
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.ledger.tables import runs
from convoforge.runs.known import read_known_runs
from convoforge.runs.snapshot import RunSnapshot, read_snapshot


@pytest.fixture
def going(tmp_path: Path) -> Iterator[GoingRun]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield GoingRun.begin(ledger)


def read(going: GoingRun, before: RunSnapshot | None = None) -> RunSnapshot:
    return going.ledger.read(read_snapshot, going.id[:8], datetime.now(UTC), before)


def test_it_says_how_far_what_it_cost_and_what_it_waits_for(going: GoingRun) -> None:
    going.note("waiting for the rate limit", queue=7)
    seen = read(going)
    assert (seen.run.state, seen.run.generated, seen.run.cost) == ("running", 2, Decimal("0.02"))
    assert (seen.budget_usd, seen.estimated_usd, seen.maybe_usd) == (Decimal(2), Decimal("0.040000"), 0)
    assert seen.run.activity == "waiting for the rate limit (7 requests in the queue)"
    assert seen.run.used_of == (0, 40)  # the calls are old; 40 is what an operator has set
    assert seen.run.seconds_left == pytest.approx(75, abs=2)
    assert seen.cells is not None and (seen.cells.accepted, seen.cells.wanted) == (2, 4)


def test_status_tells_what_it_waits_for_and_how_much_of_the_budget_is_spent(going: GoingRun) -> None:
    going.note("waiting for the rate limit", queue=7)
    view = OneRun(going.ledger, "here", going.id[:8])
    view.refresh()
    shown = Console(width=120, file=StringIO())
    shown.print(view.render())
    text = " ".join(shown.file.getvalue().split())
    assert "now waiting for the rate limit (7 requests in the queue)" in text
    assert "spend $0.02 of $2.00; estimated $0.04" in text and "2 of 4 planned" in text


def test_what_its_process_said_long_ago_is_not_shown(going: GoingRun) -> None:
    going.note("waiting for the rate limit", at=datetime.now(UTC) - timedelta(minutes=5))
    run = read(going).run
    assert (run.activity, run.seconds_left, run.used_of) == ("", None, (0, 50))


def test_errors_are_told_by_kind_with_what_to_do(going: GoingRun) -> None:
    going.fail("no room (429)")
    [reason] = read(going).reasons
    assert (reason.what, reason.reason, reason.count) == ("retried", "no room (429)", 1)
    assert "limits.max_requests" in reason.to_do


def test_what_takes_long_to_count_is_kept_on_wish(going: GoingRun) -> None:
    first = read(going)
    going.fail("no room (429)")
    assert read(going, first).reasons == ()


def test_a_run_that_has_ended_says_nothing_of_what_it_does(going: GoingRun) -> None:
    going.note("waiting for the rate limit")
    going.end()
    run = read(going).run
    assert (run.goes_on, run.activity, run.seconds_left, run.rate) == (False, "", None, None)


def test_an_unknown_run_is_told_where_runs_are_listed(going: GoingRun) -> None:
    with pytest.raises(ConfigError, match="no runs begin with 'zzz'"):
        going.ledger.read(read_snapshot, "zzz", datetime.now(UTC))


def test_a_run_of_another_version_does_not_hide_the_others(going: GoingRun) -> None:
    odd = update(runs).where(runs.c.id == going.id).values(spec='{"of": "tomorrow"}', note='{"of": "tomorrow"}')
    going.ledger.write(lambda connection: connection.execute(odd) and None)
    [run] = going.ledger.read(read_known_runs, datetime.now(UTC))
    assert (run.state, run.generated, run.rate, run.progress) == ("running", 2, None, "2 of 2 done, $0.02")
