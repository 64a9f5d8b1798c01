"""`convoforge costs`: the books, as a table or as JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from convoforge.cli import DONE
from convoforge.cli.words import dollars, facts, grid, out, print_json
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.ledger.costs import CostSummary, GroupBy, cost_summary
from convoforge.settings import Settings


def show_costs(since: str | None, until: str | None, by: GroupBy | None, *, simulated: bool, as_json: bool) -> int:
    """Print the summary of a period."""
    start, end = _moment(since, "--from"), _moment(until, "--to", last=True)
    if start and end and start >= end:
        raise ConfigError(f"--from {since} is not before --to {until}")
    with Ledger(Settings().database_url) as ledger:
        summary = ledger.read(cost_summary, start, end, by=by, provider="simulator" if simulated else "anthropic")
    if as_json:
        print_json(summary.as_json())
        return DONE
    if simulated:
        out.print("[yellow]Simulated: none of this was paid.[/yellow]")
    out.print(facts(_lines(summary)))
    if summary.groups:
        out.print()
        columns = [by or "", "attempts", "failed", "retries", "accepted", "cost", "per accepted", "p95 ms"]
        out.print(grid(columns, (_row(name, group) for name, group in summary.groups.items())))
    return DONE


def _lines(summary: CostSummary) -> list[tuple[str, str]]:
    rate = f"{summary.success_rate:.1%}" if summary.success_rate is not None else "-"
    latency = summary.latency_ms
    return [
        ("total", dollars(summary.total_cost_usd)),
        ("per request", dollars(summary.cost_per_request_usd)),
        ("per accepted", dollars(summary.cost_per_accepted_usd)),
        ("attempts", f"{summary.attempts:,}: {summary.succeeded:,} succeeded, {summary.failed:,} failed ({rate} success)"),
        ("retries", f"{summary.retries:,}"),
        ("maybe billed", f"{summary.maybe_billed:,} calls that ended without an answer"),
        ("conversations", f"{summary.conversations:,}, {summary.accepted:,} of them accepted"),
        ("tokens", f"{summary.input_tokens:,} in, {summary.output_tokens:,} out"),
        ("cache", f"{summary.cache_read_tokens:,} read, {summary.cache_write_tokens:,} written"),
        ("latency", f"p50 {latency.p50} ms, p95 {latency.p95} ms, p99 {latency.p99} ms" if latency.p50 is not None else "-"),
    ]


def _row(name: str, group: CostSummary) -> list[str]:
    p95 = group.latency_ms.p95
    return [
        name,
        f"{group.attempts:,}",
        f"{group.failed:,}",
        f"{group.retries:,}",
        f"{group.accepted:,}",
        dollars(group.total_cost_usd),
        dollars(group.cost_per_accepted_usd),
        "-" if p95 is None else f"{p95:,}",
    ]


def _moment(text: str | None, option: str, *, last: bool = False) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r} is no date: write YYYY-MM-DD or YYYY-MM-DDTHH:MM") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment + timedelta(days=1) if last and len(text) == len("2026-01-31") else moment
