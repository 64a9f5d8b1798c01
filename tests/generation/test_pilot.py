"""A pilot: a few draws are paid for and kept, and the forecast then is near what the whole build costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from support import Project

from convoforge.dataset.status import assess_draws, read_status
from convoforge.generation.pilot import choose_draws, run_pilot
from convoforge.ledger import Ledger
from convoforge.ledger.runs import find_dataset
from convoforge.planning.model_facts import snapshot_facts
from convoforge.planning.plan import Plan, make_plan
from convoforge.planning.spec import change_spec, load_spec
from convoforge.planning.templates import Library
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl

ROOT = Path(__file__).resolve().parent.parent.parent


def plan_of(name: str) -> Plan:
    spec = change_spec(load_spec(name, ROOT / "configs"), limits={"max_requests": 100_000, "concurrency": 50})
    return make_plan(spec, Library.at(ROOT / "configs"), "simulator", snapshot_facts(spec.model))


def test_draws_are_each_template_s_share_spread_over_the_plan() -> None:
    plan = plan_of("financial-advice")
    nothing = assess_draws(plan, [])
    chosen = choose_draws(plan, nothing, 12)
    share = Counter(cell.template for cell in plan.cells)
    found = Counter(cell.template for cell, _ in chosen)
    assert all(abs(found[name] - 12 * count / len(plan.cells)) < 1 for name, count in share.items())
    assert len({cell.key for cell, _ in chosen}) == 12
    assert len({cell.persona for cell, _ in chosen}) > 4
    assert len(choose_draws(plan, nothing, 10_000)) == plan.planned
    assert choose_draws(plan, replace(nothing, to_request=()), 3) == []


@pytest.mark.parametrize("name", ["financial-advice", "customer-support"])
def test_after_a_pilot_of_ten_the_forecast_is_within_15_percent_of_the_whole_cost(
    name: str, simulator: SimulatorControl, tmp_path: Path
) -> None:
    """The whole: every draw of the plan by the same simulator, without refills, as the pilot's own answers were priced."""
    settings = Settings(base_url=simulator.url, data_dir=tmp_path, config_dir=ROOT / "configs")
    plan = plan_of(name)

    def forecast() -> tuple[float, float, float]:
        from convoforge.dataset.estimate import count_missing, estimate
        from convoforge.ledger.history import read_history

        with Ledger(settings.database_url) as ledger:
            history = ledger.read(read_history, "simulator", plan.spec.model, plan.spec.templates)
        status = assess_draws(plan, [])
        cost = estimate(plan, count_missing(plan, status), status, history, refills=False).online
        return float(cost.low), float(cost.expected), float(cost.high)

    pilot = asyncio.run(run_pilot(plan, settings, 10))
    assert (pilot.sent, pilot.generated, pilot.stopped) == (10, 10, None)
    low, expected, high = forecast()
    rest = asyncio.run(run_pilot(plan, settings, plan.planned))
    whole = float(pilot.cost_usd + rest.cost_usd) * plan.planned / (pilot.generated + rest.generated)
    assert abs(expected / whole - 1) <= 0.15
    assert low < whole < high
    assert high - low < 1.2 * expected


def test_a_pilot_of_a_dataset_in_batches_is_sent_at_once_and_priced_so(simulator: SimulatorControl, tmp_path: Path) -> None:
    settings = Settings(base_url=simulator.url, data_dir=tmp_path, config_dir=ROOT / "configs")
    plan = plan_of("financial-advice")
    batched = make_plan(change_spec(plan.spec, mode="batch"), plan.library, "simulator", plan.facts)
    at_once, rest = (asyncio.run(run_pilot(one, settings, 3)) for one in (plan, batched))
    usage = simulator.usage()
    assert (usage["requests"], usage["batch"]["requests"]) == (6, 0)
    assert rest.cost_usd > at_once.cost_usd * Decimal("0.7")


def test_the_command_pays_keeps_and_forecasts(project: Project, simulator: SimulatorControl) -> None:
    project.spec("tiny")
    address = {"ANTHROPIC_BASE_URL": simulator.url}
    before = project.run("plan", "tiny", "--simulate", "--json", **address).last
    done = project.run("plan", "tiny", "--simulate", "--pilot", "4", "--json", **address)
    assert done.code == 0, done.err
    after = done.last
    assert (after["pilot"]["sent"], after["pilot"]["generated"], after["pilot"]["stopped"]) == (4, 4, None)
    assert before["pilot"] is None
    assert after["to_generate"] <= before["to_generate"]
    assert "4 answers so far" in after["estimate_basis"]
    with Ledger(f"sqlite:///{project.data / 'ledger.db'}") as ledger:
        row = ledger.read(find_dataset, "tiny", "simulator")
        assert row is not None
        plan = make_plan(load_spec("tiny", project.folder / "configs"), Library.at(project.folder / "configs"), "simulator")
        assert sum(read_status(ledger, plan, int(row.id)).counts.values()) == 4
    shown = project.run("plan", "tiny", "--simulate", "--pilot", "1", **address)
    assert shown.out.startswith("pilot: 1 of 1 draw generated for $")
    assert "simulated: nothing was paid" in shown.out


def test_a_real_pilot_asks_first_and_spends_nothing_where_it_cannot_ask(project: Project, simulator: SimulatorControl) -> None:
    project.spec("tiny")
    done = project.run("plan", "tiny", "--pilot", "4", ANTHROPIC_API_KEY="sk-ant-nobody", ANTHROPIC_BASE_URL=simulator.url)
    assert done.code == 2
    assert "A pilot of 4 draws with claude-sonnet-5-5 will cost about $0.0" in done.err
    project.spec(
        "judged", quality={"judge": {"rubric": "training", "model": "claude-opus-5-5"}}
    )  # reads in a build what a pilot keeps
    judged = project.run("plan", "judged", "--pilot", "4", ANTHROPIC_API_KEY="sk-ant-nobody", ANTHROPIC_BASE_URL=simulator.url)
    assert judged.err == done.err
    assert "--yes answers it" in done.err
    assert project.run("plan", "tiny", "--pilot", "4").code == 2
    assert project.run("plan", "tiny", "--pilot", "0", "--simulate").code == 2


def test_prompts_are_counted_where_there_is_a_key_and_a_failure_is_a_note(project: Project, simulator: SimulatorControl) -> None:
    project.spec("tiny")
    counted = project.run("plan", "tiny", "--simulate", "--count", "--json", ANTHROPIC_BASE_URL=simulator.url).last
    assert "prompts counted by the API" in counted["estimate_basis"]
    key = {"ANTHROPIC_API_KEY": "sk-ant-nobody", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    noted = project.run("plan", "tiny", "--json", **key)
    assert noted.code == 0
    assert any("did not count the prompts" in note for note in noted.last["notes"])
    assert project.run("plan", "tiny", "--no-count", "--json", **key).last["notes"] == []
    assert project.run("plan", "tiny", "--count", "--json", **key).code != 0


def test_the_spec_of_the_pilot_test_is_the_shipped_one() -> None:
    for name in ("financial-advice", "customer-support"):
        assert yaml.safe_load((ROOT / "configs" / "datasets" / f"{name}.yaml").read_text())["sample"] == 300
