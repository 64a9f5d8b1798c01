"""A weekly report of costs: what was spent, on what, and what of it was waste. Sends nothing, pays nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from convoforge.costs.format import COLUMNS, format_groups, format_line, format_summary
from convoforge.costs.summary import CostSummary, GroupBy, cost_summary
from convoforge.errors import ConvoforgeError
from convoforge.ledger import Ledger
from convoforge.markdown import table_row
from convoforge.planning.forms import FormSection
from convoforge.settings import Settings
from convoforge.tasks.report import one_line
from convoforge.tasks.run_log import name_run, point_further


class CostOptions(FormSection):
    """Which costs are summed up."""

    simulated: bool = Field(default=False, description="What the simulator wrote, instead of real spending.")
    since: date | None = Field(default=None, description="The first day, UTC; from the beginning, where it is not set.")
    until: date | None = Field(default=None, description="The last day, UTC; until now, where it is not set.")
    by: GroupBy = Field(default="dataset", description="What the figures are grouped by.")


@flow(name="cost-report", validate_parameters=True)
async def cost_report(options: CostOptions = CostOptions()) -> State[Any]:
    """Sum up the costs and leave them as a page. Sends nothing, pays nothing.

    Ends as Completed with the total, what an accepted conversation costs and what was wasted, and with what `convoforge costs --json`
    prints as its result; as Failed where the ledger cannot be read.

    Args:
        options: What the report covers.

    """
    since, until, by, simulated = options.since, options.until, options.by, options.simulated
    period = f"{since or 'the beginning'} to {until or 'now'}"
    await name_run("costs", period, f"by {by}", simulated=simulated)
    if since and until and since > until:
        return Failed(
            message=point_further(f"the period begins on {since}, after its last day {until}", "convoforge costs --help")
        )
    end = None if until is None else until + timedelta(days=1)
    try:
        summary = await asyncio.to_thread(_read, _midnight(since), _midnight(end), by, simulated=simulated)
    except ConvoforgeError as error:
        return Failed(message=point_further(one_line(error)), data=error)
    message = f"{format_line(summary)}{' (simulated: nothing was paid)' if simulated else ''}"
    key = "costs-simulated" if simulated else "costs"
    groups = summary.groups or {}
    page = format_page(summary, groups, by, period, simulated=simulated)
    try:
        await acreate_markdown_artifact(page, key=f"{key}-report", description=f"{period}: {message}")
    except Exception as error:  # noqa: BLE001 - the costs are in the ledger whether or not Prefect shows them
        get_run_logger().warning("the artifact could not be written: %s", error)
    command = f"convoforge costs --by {by}{' --simulated' if simulated else ''}"
    return Completed(message=point_further(message, command), data=summary.as_json())


def format_page(summary: CostSummary, groups: Mapping[str, CostSummary], by: str, period: str, *, simulated: bool) -> str:
    """The summary as a page of Markdown."""
    banner = ["> **Simulated.** None of this was paid.", ""] if simulated else []
    facts = [table_row((what.replace("  ", "· "), value)) for what, value in format_summary(summary)]
    table = [table_row((by, *COLUMNS)), "|---|" + "---:|" * len(COLUMNS), *map(table_row, format_groups(groups))]
    return "\n".join([f"# Costs, {period}", "", *banner, "| | |", "|---|---|", *facts, "", f"## By {by}", "", *table, ""])


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _read(since: datetime | None, until: datetime | None, by: GroupBy, *, simulated: bool) -> CostSummary:
    with Ledger(Settings().database_url) as ledger:
        return ledger.read(cost_summary, since, until, by=by, provider="simulator" if simulated else "anthropic")
