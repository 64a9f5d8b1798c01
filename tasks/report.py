"""What a run leaves behind for people: artifacts in Prefect, and the report that the command line and the ledger keep."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from time import monotonic
from typing import Any

from prefect import task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict

from convoforge.billing_terms import describe_terms
from convoforge.dataset.acceptance import StatusSummary
from convoforge.dataset.calibration import describe_calibration
from convoforge.errors import format_count
from convoforge.generation.answering_model import price_answered
from convoforge.ledger.judgments import read_judge_costs
from convoforge.ledger.runs import Remarks, close_run, read_remarks, read_run_usage
from convoforge.models import Provider, Status, Usage
from convoforge.orchestration.build_run import BuildRun, current_run
from convoforge.pricing import Price, cache_saving, usd
from convoforge.tasks.publish import Release, artifact_key
from convoforge.tasks.retries import DELAYS, RETRIES, is_worth_a_retry
from convoforge.tasks.run_page import format_page, read_facts


class BuildReport(BaseModel):
    """What `build --json` prints. `accepted`, `needs_revision`, `dropped`, `pending`, `stale`, `exhausted`, `refused` count the dataset
    as it stands; `generated`, `failed` and `cost_usd` (US dollars, exact) this run. `version` holds the rows of today, `latest_version`
    is what `latest` leads to: an older one where today's has too few rows. `load_path` loads `version`, of `splits` (rows)."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    dataset: str
    version: int | None
    path: str | None
    provider: Provider
    planned: int
    held: int
    generated: int
    accepted: int
    needs_revision: int
    dropped: int
    failed: int
    pending: int
    stale: int
    exhausted: int
    cost_usd: str
    seconds: float
    state: str
    message: str
    published: bool
    notes: tuple[str, ...] = ()
    refused: int = 0
    in_batches: int = 0
    estimated_cost_usd: str | None = None
    estimated_low_usd: str | None = None
    estimated_high_usd: str | None = None
    cache_hit_rate: float | None = None
    cache_saved_usd: str | None = None
    latest_version: int | None = None
    load_path: str | None = None
    splits: dict[str, int] = {}
    output_tokens: int = 0
    thinking_tokens: int = 0
    judged: int = 0
    judge_cost_usd: str | None = None
    unjudged: int = 0


async def report_run(opened: BuildRun, release: Release, *, held: int, limit: int | None, begun: float) -> BuildReport:
    """Write the report of a run that reached its end, whether it made everything or not: of all its processes, as the ledger has it."""
    await opened.count_run()
    used = await opened.ledger.aread(read_run_usage, opened.run_id)
    remarks = await opened.ledger.aread(read_remarks, opened.run_id, opened.plan.spec.model)
    judge = await opened.ledger.aread(read_judge_costs, opened.run_id)
    calibrated = await asyncio.to_thread(describe_calibration, opened.ledger, opened.plan, opened.dataset_id)
    limited = limit is not None and opened.generated >= limit
    report = _build_report(opened, release, held, used, remarks, limited=limited, seconds=monotonic() - begun)
    if opened.judging is not None:
        own = {"judged": judge[0], "judge_cost_usd": format_usd(usd(judge[1]))}
        report = report.model_copy(update={**own, "notes": (*report.notes, *filter(None, [calibrated]))})
    await write_report(report)
    return report


def _build_report(
    opened: BuildRun,
    release: Release,
    held: int,
    used: Mapping[str, Usage],
    remarks: Remarks,
    *,
    limited: bool,
    seconds: float,
) -> BuildReport:
    """`used` are the run's tokens, by their price; `remarks` is what was odd about its answers."""
    published, found = release.published, release.summary
    run_state = opened.state
    accepted, planned = found.counts[Status.ACCEPTED], opened.plan.planned
    short = f"{accepted} of {planned}"
    if run_state.stopped is not None:
        state, message = "failed" if run_state.fatal else "partial", one_line(f"{run_state.stopped}; {short} accepted")
    elif limited and accepted < planned:
        state, message = "limited", f"as far as the option `limit` goes: {short} accepted"
    elif found.exhausted or found.pending or found.unjudged or accepted < planned:
        failed = found.pending - opened.state.in_batches
        parts = [
            f"{format_count(opened.state.in_batches, 'is', 'are')} in batches: build again to collect them"
            if opened.state.in_batches
            else "",
            f"{failed:,} failed in transport and {'stays' if failed == 1 else 'stay'} pending" if failed > 0 else "",
            f"{format_count(found.exhausted, 'cell is', 'cells are')} out of draws" if found.exhausted else "",
            f"{format_count(found.unjudged, 'conversation waits', 'conversations wait')} for the judge" if found.unjudged else "",
            f"{format_count(found.refused, 'request was', 'requests were')} refused by the API" if found.refused else "",
        ]
        state, message = "partial", f"{short} accepted; {' and '.join(filter(None, parts)) or 'some are missing'}"
    else:
        state, message = "completed", f"all {planned} accepted"
    if published.behind:
        instead = f"NOT version {published.version}" if published.version else "of which nothing is accepted now"
        message = f"{message}; latest stays at version {published.latest}, {instead}"
    return BuildReport(
        run_id=opened.run_id,
        dataset=opened.plan.spec.name,
        version=published.version,
        path=str(published.path) if published.path else None,
        provider=opened.plan.provider,
        planned=planned,
        held=held,
        generated=opened.generated,
        accepted=accepted,
        needs_revision=found.counts[Status.NEEDS_REVISION],
        dropped=found.counts[Status.DROPPED] + found.counts[Status.FAILED],
        failed=len(run_state.unanswered),
        pending=found.pending,
        stale=opened.state.stale,
        exhausted=found.exhausted,
        cost_usd=format_usd(usd(opened.cost_pico)),
        seconds=round(seconds, 2),
        state=state,
        message=message,
        published=published.version is not None and not published.unchanged,
        notes=(
            *opened.plan.notes,
            *published.notes,
            *_collected(opened.state.collected),
            *_refused(found),
            *_odd(remarks, opened),
            *opened.state.batch_notes,
            *opened.state.batch_troubles,
        ),
        refused=found.refused,
        unjudged=found.unjudged,
        in_batches=opened.state.in_batches,
        latest_version=published.latest,
        splits=dict(published.splits),
        load_path=str(published.load_path) if published.load_path else None,
        output_tokens=sum(usage.output_tokens for usage in used.values()),
        thinking_tokens=sum(usage.thinking_tokens for usage in used.values()),
        **opened.state.estimated,
        **_cached(used),
    )


def _collected(answers: int) -> tuple[str, ...]:
    return (f"{format_count(answers, 'answer')} came from batches of earlier runs, which have paid for them",) if answers else ()


def _odd(remarks: Remarks, opened: BuildRun) -> Iterator[str]:
    if remarks.without_usage:
        yield (
            f"{format_count(remarks.without_usage, 'answer')} came without a plausible usage: each may have been billed, and counts "
            "at its worst case (generation_logs.usage_known)"
        )
    asked = opened.plan.spec.model
    for model, answers in remarks.other_models.items():
        batch = opened.plan.spec.mode == "batch"
        cost = (
            "by its own price"
            if price_answered(model, batch=batch)
            else "maybe billed at the worst case, as no price of it is known"
        )
        subject = format_count(answers, "answer is", "answers are")
        yield f"{subject} of another model than was asked for: '{model}' instead of '{asked}', counted {cost}"
    for terms, answers in remarks.terms.items():
        if special := describe_terms(asked, terms):
            yield f"{format_count(answers, 'answer was', 'answers were')} billed with {special}"


def _refused(found: StatusSummary) -> tuple[str, ...]:
    if not found.refused:
        return ()
    why = one_line(found.why_refused)
    refused = (
        f"{format_count(found.refused, 'request was', 'requests were')} refused, at no cost, and not asked again unchanged: {why}"
    )
    return (f"{refused}. Change what is at fault, or ask once more with the option `retry_refused`",)


def _cached(used: Mapping[str, Usage]) -> dict[str, Any]:
    """Which share of the input was read from the prompt cache, and what that saved; nothing where nothing was kept in it."""
    total: Usage = sum(used.values(), start=Usage())
    prompt = total.input_tokens + total.cache_read_tokens + total.cache_write_tokens
    if prompt == total.input_tokens:
        return {}
    saved = sum((cache_saving(usage, Price.parse(price)) for price, usage in used.items()), start=Decimal(0))
    return {"cache_hit_rate": round(total.cache_read_tokens / prompt, 4), "cache_saved_usd": format_usd(saved)}


@task(
    name="report",
    task_run_name="report",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=DELAYS,
    retry_condition_fn=is_worth_a_retry,
)
async def write_report(report: BuildReport) -> State[None]:
    """Keep the report in the ledger, and leave it in Prefect as a page to read."""
    opened = current_run()
    await opened.ledger.awrite(
        close_run, opened.run_id, report.state, report.message, report.model_dump(mode="json"), datetime.now(UTC)
    )
    key = f"{artifact_key(report.dataset, report.provider)}-report"
    page = format_page(report, await asyncio.to_thread(read_facts, opened))
    try:
        await acreate_markdown_artifact(page, key=key, description=f"{report.dataset}: {report.message}")
    except Exception as error:  # noqa: BLE001 - what was made is published and in the ledger: a Prefect server that is away changes none of it
        get_run_logger().warning("the artifact could not be written: %s", error)
        return Completed(message=f"the report is in the ledger alone: {one_line(error)}", data=None)
    return Completed(message=f"the artifact {key}", data=None)


def one_line(text: object) -> str:
    """A text for a state or a table."""
    return " ".join(str(text).split())


def format_usd(amount: Decimal) -> str:
    """An exact amount without needless zeros, but with cents at least."""
    text = f"{amount.normalize():f}"
    whole, _, part = text.partition(".")
    return f"{whole}.{part.ljust(2, '0')}"
