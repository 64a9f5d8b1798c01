"""`convoforge judge`: a model reads what a dataset holds, and how far it agrees with reviews."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from convoforge.cli.console import ask, errors, facts, grid, out, print_json
from convoforge.cli.parameters import DONE, ENDED_SHORT, AsJson, Positive, Simulated
from convoforge.dataset.find_plan import find_any_plan
from convoforge.errors import ConfigError, format_count
from convoforge.pricing import dollars
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.dataset.calibration import Agreement, Calibration
    from convoforge.ledger import Ledger
    from convoforge.planning.plan import Plan


def judge(
    dataset: Annotated[str, Parameter(help="The name of a dataset (its last run's spec), or the path of a spec.")],
    /,
    *,
    calibrate: Annotated[
        bool, Parameter(negative="", help="Compare the judge with reviews: agreement and Cohen's κ of each criterion.")
    ] = False,
    limit: Annotated[int | None, Positive, Parameter(help="Maximum number of conversations to judge.")] = None,
    simulated: Simulated = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask before spending.")] = False,
    as_json: AsJson = False,
) -> int:
    """Let the judge of the spec read what is held and no judge has read; with `--calibrate` also what was reviewed. Asks before it
    spends; the next build or `publish` goes by it."""
    from convoforge.api.python import choose_limiter
    from convoforge.dataset.forecast import forecast_judge
    from convoforge.dataset.status import read_status, score_dataset
    from convoforge.generation.judge_run import JudgeRun, run_judge
    from convoforge.ledger import Ledger
    from convoforge.pricing import usd

    settings = Settings()
    with Ledger(settings.database_url) as ledger:
        plan, dataset_id = _find(ledger, settings, dataset, simulated=simulated)
        score_dataset(ledger, plan, dataset_id)
        waiting = [draw.request_id for draw in read_status(ledger, plan, dataset_id).to_judge][:limit]
        also = _calibrate(ledger, plan, dataset_id).unread if calibrate else ()
        ids = [*dict.fromkeys((*also, *waiting))]
        expected = forecast_judge(ledger, plan, ids)
    done = JudgeRun(0, usd(0), None)
    if ids:
        if plan.provider == "anthropic" and not settings.accounts:
            raise ConfigError(
                "no API key: set ANTHROPIC_API_KEY; a dataset that was simulated is judged without one: --simulated"
            )
        question = f"{expected.describe('online')} to judge."
        if plan.provider == "anthropic" and not yes and not ask(f"{question} Spend it?"):
            out.print("Nothing was sent.")
            return ENDED_SHORT
        with errors.status(f"[dim]Judging {format_count(len(ids), 'conversation')} …[/dim]"):
            done = asyncio.run(run_judge(plan, settings, limit=limit, also=also, open_limiter=choose_limiter()))
    with Ledger(settings.database_url) as ledger:
        status, compared = read_status(ledger, plan, dataset_id), _calibrate(ledger, plan, dataset_id)
    if as_json:
        print_json(
            {
                "dataset": plan.spec.name,
                "provider": plan.provider,
                "model": expected.model,
                "judged": done.judged,
                "cost_usd": f"{done.cost_usd:f}",
                "accepted": len(status.accepted),
                "waiting": len(status.to_judge),
                "stopped": done.stopped,
                "calibration": compared.as_json(),
            }
        )
    else:
        _print(plan, done.judged, dollars(done.cost_usd), len(status.accepted), len(status.to_judge), done.stopped)
        _print_calibration(compared, table=calibrate)
    return ENDED_SHORT if done.stopped or (status.to_judge and limit is None) else DONE


def _find(ledger: Ledger, settings: Settings, dataset: str, *, simulated: bool) -> tuple[Plan, int]:
    found = find_any_plan(ledger, settings, dataset, simulated=simulated)
    if found[0].spec.quality.judge is None:
        raise ConfigError(
            f"the spec of '{found[0].spec.name}' has no judge: give it one, `quality: {{judge: {{rubric: training}}}}`"
        )
    return found


def _calibrate(ledger: Ledger, plan: Plan, dataset_id: int) -> Calibration:
    from convoforge.dataset.calibration import calibrate
    from convoforge.scoring import Judge

    assert plan.spec.quality.judge is not None
    return calibrate(ledger, dataset_id, Judge.of(plan.spec.quality.judge, plan.library.folder))


def _print(plan: Plan, judged: int, cost: str, accepted: int, waiting: int, stopped: str | None) -> None:
    paid = " (simulated: nothing was paid)" if plan.provider == "simulator" else ""
    rows = [
        ("dataset", plan.spec.name),
        ("judged", f"{format_count(judged, 'conversation')} for {cost}{paid}"),
        ("accepted", f"{accepted:,} of {plan.planned:,} planned"),
        ("waiting", f"{waiting:,} to be judged"),
    ]
    out.print(facts([*rows, *([("stopped", stopped)] if stopped else [])]))


def _print_calibration(compared: Calibration, *, table: bool) -> None:
    if table:
        rows = [("whole verdict", compared.verdict), *compared.criteria.items()]
        out.print()
        out.print(grid(["criterion", "conversations", "agreement", "κ", "95 %", "calibrated"], [_row(*row) for row in rows]))
        out.print()
    message = str(compared)
    colour = "green" if compared.verdict.is_enough else "yellow"
    out.print(f"[{colour}]{message[:1].upper()}{message[1:]}.[/{colour}]")


def _row(name: str, one: Agreement) -> list[str]:
    share = "-" if one.share is None else f"{one.share:.0%}"
    if one.kappa is None or one.low is None or one.high is None:
        return [name, f"{one.pairs:,}", share, "-", "-", "no"]
    return [
        name,
        f"{one.pairs:,}",
        share,
        f"{one.kappa:.2f}",
        f"{one.low:.2f} to {one.high:.2f}",
        "yes" if one.is_enough else "no",
    ]
