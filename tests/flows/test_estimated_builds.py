"""An estimate beside what the build then cost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support import Project

from convoforge.ledger import Ledger
from convoforge.ledger.model_facts import keep_facts
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl


@pytest.mark.long
def test_a_build_s_actual_cost_lies_in_its_estimate_and_the_second_is_close(
    building: Project, simulator: SimulatorControl
) -> None:
    building.spec("guessed", per_cell=5)
    url = {"ANTHROPIC_BASE_URL": simulator.url}
    before = building.run("plan", "guessed", "--simulate", "--json", **url).last
    first = building.run("build", "guessed", "--simulate", "--json", **url).last
    assert float(before["estimated_low_usd"]) <= float(first["cost_usd"]) <= float(before["estimated_high_usd"])
    assert first["estimated_cost_usd"] == before["estimated_cost_usd"]
    building.spec("guessed", per_cell=10)
    before = building.run("plan", "guessed", "--simulate", "--count", "--json", **url).last
    second = building.run("build", "guessed", "--simulate", "--json", **url).last
    assert 0.75 < float(second["cost_usd"]) / float(before["estimated_cost_usd"]) < 1.25
    assert simulator.usage()["requests"] == first["generated"] + second["generated"]  # to count is no request for a conversation
    assert "counted by the API" in before["estimate_basis"]


@pytest.mark.long
def test_a_build_goes_by_what_the_api_says_of_its_model_and_not_by_what_was_known_before(
    building: Project, simulator: SimulatorControl
) -> None:
    building.spec("told")
    url = {"ANTHROPIC_BASE_URL": simulator.url}
    with Ledger(Settings(data_dir=building.data).database_url) as ledger:
        ledger.write(keep_facts, "simulator", "claude-sonnet-5-5", {"structured": False}, datetime.now(UTC))
    before = building.run("plan", "told", "--simulate", "--json", **url).last
    assert any("takes no structured output" in note for note in before["notes"])
    built = building.run("build", "told", "--simulate", "--json", **url).last
    assert (built["accepted"], built["stale"]) == (8, 0)
    after = building.run("plan", "told", "--simulate", "--json", **url).last
    assert (after["accepted"], after["stale"], after["notes"]) == (8, 0, [])


@pytest.mark.long
def test_a_build_tells_how_much_was_thought(building: Project, simulator: SimulatorControl) -> None:
    building.spec("thinks", generation={"thinking": "adaptive"})
    url = {"ANTHROPIC_BASE_URL": simulator.url}
    built = building.run("build", "thinks", "--simulate", "--json", **url).last
    costs = building.run("costs", "--simulated", "--json").last
    billed = simulator.usage()["billed_delivered"]
    assert (built["output_tokens"], built["thinking_tokens"]) == (billed["output_tokens"], billed["thinking_tokens"])
    assert (costs["output_tokens"], costs["thinking_tokens"]) == (billed["output_tokens"], billed["thinking_tokens"])
    assert billed["thinking_tokens"] > 0
    assert "of them thinking" in building.run("costs", "--simulated").out
