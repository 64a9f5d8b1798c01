"""The page that a run leaves in Prefect: what came of it, at what cost, what was not accepted and why, three conversations, coverage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from convoforge.dataset.reasons import of_run, read_reasons
from convoforge.dataset.status import read_status
from convoforge.ledger.answers import read_answers, read_conversation
from convoforge.ledger.runs import list_answered_by
from convoforge.markdown import code, fenced, inline, table_row
from convoforge.orchestration.build_run import BuildRun
from convoforge.pricing import dollars
from convoforge.publish.card import NAME as CARD
from convoforge.publish.card import loading
from convoforge.publish.report import NAME as REPORT
from convoforge.reasons import Reason
from convoforge.tasks.coverage import draw_coverage

if TYPE_CHECKING:
    from convoforge.tasks.report import BuildReport

MAX_REASONS, SAMPLES = 20, 3
"""Maximum number of reasons, and of conversations to read. In a table of Prefect's UI the last columns would be out of sight."""

MAX_TURNS, MAX_TURN_CHARACTERS = 8, 400
"""Maximum length of a sample: the whole of it is in the dataset."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a page shows beside the report: reasons, rows of conversations, and the picture of the coverage as SVG."""

    reasons: Sequence[Reason] = ()
    samples: Sequence[Any] = ()
    coverage: str = ""


def read_facts(opened: BuildRun) -> RunFacts:
    """The facts of a run, from the ledger. The samples are of this run where it has brought any that is accepted."""
    accepted = read_status(opened.ledger, opened.plan, opened.dataset_id).accepted
    own = opened.ledger.read(list_answered_by, opened.run_id)
    ids = [draw.request_id for draw in accepted if draw.request_id in own] or [draw.request_id for draw in accepted]
    some = [ids[index * len(ids) // SAMPLES] for index in range(min(SAMPLES, len(ids)))]
    return RunFacts(
        reasons=opened.ledger.read(read_reasons, of_run(opened.run_id)),
        samples=opened.ledger.read(lambda connection: list(read_answers(connection, some))),
        coverage=draw_coverage(opened.plan, [draw.cell for draw in accepted]),
    )


def format_page(report: BuildReport, facts: RunFacts) -> str:
    """The page in Markdown. What others wrote is shown as it is."""
    return "\n\n".join(
        part
        for part in (
            f"# {report.dataset}: {inline(report.message)}",
            _banner(report),
            "\n".join(("| | |", "|---|---|", *map(table_row, summarize(report)))),
            _link(report.path, report.version) if report.path else "",
            fenced(loading(report.load_path, next(iter(report.splits)), "rows"), "python") if report.load_path else "",
            "\n".join(f"- {inline(note)}" for note in report.notes),
            _format_reasons(report, facts.reasons),
            _format_samples(facts.samples),
            f"## Coverage\n\n![accepted conversations by cell]({facts.coverage})" if facts.coverage else "",
        )
        if part
    )


def summarize(report: BuildReport) -> list[tuple[str, str]]:
    """The report in words and figures that line up."""
    simulated = " (simulated: nothing was paid)" if report.provider == "simulator" else ""
    where = report.path or "nothing published"
    return [
        ("dataset", f"{report.dataset}, version {report.version}" if report.version else report.dataset),
        ("state", report.message),
        ("generated in this run", f"{report.generated:,}"),
        ("accepted", f"{report.accepted:,} of {report.planned:,} planned"),
        ("needs revision", f"{report.needs_revision:,}"),
        ("dropped", f"{report.dropped:,}"),
        ("pending", f"{report.pending:,}"),
        ("stale", f"{report.stale:,}"),
        ("cost of this run", f"{show_usd(report.cost_usd)}{simulated}"),
        *compare_with_estimate(report),
        *(
            [("of it the judge", f"{show_usd(report.judge_cost_usd)} for {report.judged:,} answers")]
            if report.judge_cost_usd
            else []
        ),
        ("seconds", f"{report.seconds:.1f}"),
        ("latest", f"version {report.latest_version}" if report.latest_version else "nothing published"),
        ("version", where),
        ("more", f"convoforge status {report.run_id[:8]}; convoforge errors {report.run_id[:8]}"),
    ]


def compare_with_estimate(report: BuildReport) -> Iterator[tuple[str, str]]:
    """What was expected of the run's cost, and what its cache was good for."""
    if report.estimated_cost_usd is not None and report.generated:
        expected, low, high = (Decimal(report.estimated_cost_usd), report.estimated_low_usd, report.estimated_high_usd)
        ratio = f": actual {Decimal(report.cost_usd) / expected:.2f} × of it" if expected else ""
        yield "estimated before", f"{dollars(expected)} ({show_usd(low)} to {show_usd(high)}){ratio}"
    if report.cache_hit_rate is not None:
        yield (
            "prompt cache",
            f"{report.cache_hit_rate:.0%} of the input was read from it, {show_usd(report.cache_saved_usd)} saved",
        )
    if report.thinking_tokens:
        share = report.thinking_tokens / report.output_tokens
        yield "thinking", f"{report.thinking_tokens:,} of {report.output_tokens:,} output tokens ({share:.0%})"
    if report.in_batches:
        yield "in batches", f"{report.in_batches} requests are being worked on"


def show_usd(exact: str | None) -> str:
    """An exact amount as people read it."""
    return dollars(Decimal(exact or 0))


def _link(where: str, version: int | None) -> str:
    """Links to a version, its report and its card, in a folder or an object store. A browser opens no folder from a page of a server: the
    address can be copied."""
    address = quote(where, safe=":/") if "://" in where else Path(where).absolute().as_uri()
    return (
        f"[version {version}](<{address}>) · [its report: charts, what was not accepted, variety, conversations](<{address}/{REPORT}>) · "
        f"[its card: coverage, lengths, scores, cost, lineage](<{address}/{CARD}>)"
    )


def _banner(report: BuildReport) -> str:
    if report.provider != "simulator":
        return ""
    return "> **Simulated data.** A local simulator wrote these conversations. Do not train on them."


def _format_reasons(report: BuildReport, reasons: Sequence[Reason]) -> str:
    if not reasons:
        return ""
    rows = [
        f"- **{inline(f'{one.count:,} × {one.what}: {one.reason}')}.** {inline(one.to_do)}. For example {inline(one.example)}"
        for one in reasons[:MAX_REASONS]
    ]
    left = len(reasons) - len(rows)
    more = [f"- {left:,} more: {code(f'convoforge errors {report.run_id[:8]}')}"] if left > 0 else []
    return "\n".join(("## Not accepted, refused or failed", "", *rows, *more))


def _format_samples(rows: Sequence[Any]) -> str:
    if not rows:
        return ""
    return "\n\n".join(("## Conversations", *map(_format_sample, rows)))


def _format_sample(row: Any) -> str:
    turns = read_conversation(row.turns, row.system).turns
    lines = [f"**{turn.role}:** {inline(_cut(turn.content))}" for turn in turns[:MAX_TURNS]]
    if len(turns) > MAX_TURNS:
        lines.append(f"… {len(turns) - MAX_TURNS} more turns")
    head = f"{row.persona} · {row.emotion} · {row.topic} · {row.tier}"
    return "\n\n".join((f"### {inline(head)}: score {row.score}", *lines))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TURN_CHARACTERS else f"{text[: MAX_TURN_CHARACTERS - 1]}…"
