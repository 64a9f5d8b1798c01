"""What a run writes to its log: plan, price, rounds, waits, progress, the version. And its name in Prefect."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from convoforge.dataset.forecast import Forecast
from convoforge.errors import format_count
from convoforge.orchestration.build_run import BuildRun, Progress
from convoforge.orchestration.run_names import present_run
from convoforge.pricing import dollars
from convoforge.publish import Published

TENTH = 0.1
"""Share of a run's requests after which its progress is logged again."""


async def name_run(subject: str, *does: str, simulated: bool) -> None:
    """Name the run after its subject, such as a dataset, and what it does, once that is known: `demo · 60 to make · simulated`."""
    mark = ("simulated",) if simulated else ()
    await present_run(" · ".join((subject, *does, *mark)), subject, *mark, instead_of=" · ".join((subject, *mark)))


async def log_plan(seen: Forecast, *, simulated: bool) -> None:
    """Name the run after what it does, and begin its log with the plan and the price."""
    spec, log = seen.plan.spec, get_run_logger()
    to_make = f"{seen.missing:,} to make" if seen.missing else "nothing to make"
    await name_run(spec.name, to_make, simulated=simulated)
    cells, accepted = len(seen.plan.cells), len(seen.status.accepted)
    size = f"{format_count(seen.plan.planned, 'conversation')} in {format_count(cells, 'cell')}"
    plan = f"{size} with {spec.model}; {accepted:,} accepted already, {to_make}"
    log.info("Plan: %s", plan)
    if (judge := seen.costs.judge) is not None and judge.requests:
        log.info("To judge: %s", judge.describe(spec.mode))
    if seen.missing or seen.status.to_judge:
        caps = {"run": spec.budget.run_usd, "dataset": spec.budget.dataset_usd, "day": spec.budget.day_usd}
        budgets = ", ".join(f"{dollars(cap)} for the {kind}" for kind, cap in caps.items() if cap is not None)
        paid = " (simulated: nothing is paid)" if simulated else ""
        log.info("Price: %s%s; budget: %s", seen.costs.cost, paid, budgets or "none")
    for warning in seen.warnings:
        log.warning("%s", warning)


def point_further(message: str, command: str = "") -> str:
    """A state's message with the command that shows more: by default the one that prints this run's log."""
    return f"{message}; more: {command or f'prefect flow-run logs {flow_run.id}'}"


def log_round(opened: BuildRun, requests: int, task_runs: int) -> None:
    """Log that a round begins."""
    opened.state.rounds += 1
    how = f" in {format_count(task_runs, 'shard')}" if task_runs < requests else ""
    get_run_logger().info("Round %d: %s%s", opened.state.rounds, format_count(requests, "request"), how)


def describe_version(published: Published) -> str:
    """What was published, or why nothing was."""
    if published.version is None:
        return "nothing published: no conversation is accepted"
    text = f"version {published.version}: {format_count(published.rows, 'conversation')} in {published.path}"
    return f"nothing new; {text}" if published.unchanged else text


@dataclass
class ProgressLog:
    """Logs a run's progress at each tenth of the way, and what it waits for, once for each cause."""

    tenths: int = 0
    causes: set[str] = field(default_factory=set)

    def write(self, now: Progress, line: str) -> None:
        """Log what is new; `line` is the progress as text."""
        tenths = int(now.done / now.todo / TENTH + 1e-9) if now.todo else 0
        if tenths > self.tenths:
            get_run_logger().info("%s", line)
        self.tenths = tenths
        cause = re.sub(r"[\d.]+", "…", now.waiting)
        if cause and cause not in self.causes:
            self.causes.add(cause)
            get_run_logger().info("%s", now.waiting[:1].upper() + now.waiting[1:])
