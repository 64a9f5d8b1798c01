"""An estimate beside what the build then cost."""

from __future__ import annotations

from support import Project, Simulator


def test_a_build_s_actual_cost_lies_in_its_estimate_and_the_second_is_close(building: Project, simulator: Simulator) -> None:
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
    assert simulator.books()["requests"] == first["generated"] + second["generated"]  # to count is no request for a conversation
    assert "counted by the API" in before["estimate_basis"]
