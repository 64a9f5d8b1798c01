"""A run in Prefect as it tells what it does: its name and tags, the states of its tasks, its log."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.utilities.names import generate_slug
from support import Project
from watching import Operator, wait_for

from convoforge.orchestration.run_names import is_made_up, named_after
from convoforge.simulator.client import SimulatorControl
from convoforge.tasks.report import BuildReport

RunFlow = Callable[..., State[Any]]
REFUSED = {"kind": "400", "message": "this prompt is not to our taste"}


def report_in(state: State[Any]) -> BuildReport:
    found = state.data.result if hasattr(state.data, "result") else state.data
    assert isinstance(found, BuildReport), found
    return found


def test_a_larger_run_fans_out_and_its_shards_and_its_log_say_what_came_of_it(
    run_build: RunFlow, building: Project, simulator: SimulatorControl, operator: Operator
) -> None:
    building.spec("story", per_cell=13, max_draws=1, budget={"run_usd": 5})
    simulator.script(REFUSED, "short", "refusal")
    report = report_in(run_build(spec="story", simulate=True))
    run = operator.run(report.run_id)
    assert run.name == "story · 104 to make · simulated"
    assert {"convoforge", "story", "simulated"} <= set(run.tags)
    states = operator.task_states(report.run_id, 6)
    shards = [message for name, (_, message) in states.items() if name.startswith("shard ")]
    assert sorted(name for name in states if name.startswith("shard ")) == [
        "shard 1 of 3: 34 requests",
        "shard 2 of 3: 35 requests",
        "shard 3 of 3: 35 requests",
    ]
    assert sum(int(count) for message in shards for count in re.findall(r"(\d+) accepted", message)) == report.accepted
    assert any("1 failed" in message and message.endswith("this prompt is not to our taste") for message in shards), shards
    assert states["score"][1] == "all conversations were scored by turns, length, structure as they came"
    assert states["publish"][1] == f"version 1: {report.accepted} conversations in {report.path}"
    log = wait_for(
        lambda: (said := operator.log(report.run_id)) and f"Finished in state Partial('{report.message}" in said and said,
        "the whole log",
        20,
    )
    assert "Plan: 104 conversations in 8 cells with claude-sonnet-5-5; 0 accepted already, 104 to make\n" in log
    assert re.search(r"Price: about \$\S+ \(\$\S+ to \$\S+\) \(simulated: nothing is paid\); budget: \$5.00 for the run\n", log)
    assert "Round 1: 104 requests in 3 shards\n" in log
    assert re.search(r"#\d+: failed, .*this prompt is not to our taste\n", log)
    assert re.search(r"#\d+: needs revision, score \d, \$0\.\d+, ", log)
    assert re.search(r"story: 104 of 104 done, \d+ accepted", log)
    assert f"Version 1: {report.accepted} conversations in {report.path}\n" in log


def test_each_task_of_a_small_run_says_what_became_of_its_request(
    run_build: RunFlow, building: Project, simulator: SimulatorControl, operator: Operator
) -> None:
    axes = {"persona": ["A"], "emotion": ["Fear"], "topic": ["x", "y", "z"], "tier": ["template"]}
    building.spec("story-small", axes=axes, max_draws=1, limits={"max_requests": 100_000, "concurrency": 1})
    simulator.script(REFUSED, "short")
    report = report_in(run_build(spec="story-small", simulate=True))
    states = operator.task_states(report.run_id, 6)
    told = dict(states[f"A · Fear · {topic} · template #1"] for topic in "xyz")
    assert set(told) == {"Failed", "Needs revision", "Accepted"}
    assert told["Failed"].endswith("this prompt is not to our taste")
    assert re.match(r"score \d, \$0\.\d+, ", told["Needs revision"])
    assert re.fullmatch(r"score \d+, \$0\.\d+", told["Accepted"])
    assert states.keys() >= {"score", "publish", "report"}
    assert all(message for _, message in states.values()), states
    log = wait_for(
        lambda: (said := operator.log(report.run_id)) and f"Finished in state Partial('{report.message}" in said and said,
        "the whole log",
        20,
    )
    assert "Task run failed with" not in log  # Prefect's own line, with everything twice and `NoneType: None`
    left = operator.artifacts(report.run_id)
    assert set(left) == {"markdown", "image"}  # the bar is gone
    assert left["image"].key in ("story-small-simulated-scores", "story-small-simulated-lengths")
    assert left["image"].data.startswith("data:image/svg+xml;base64,")
    assert left["markdown"].key == "story-small-simulated-report"
    page = left["markdown"].data.splitlines()
    assert page[0] == f"# story-small: {report.message}"
    assert page[2].startswith("> **Simulated data.**")
    assert not [line for line in page if line.startswith(" ")]
    assert f"| version | {report.path} |" in page
    card = "[its card: coverage, lengths, scores, cost, lineage]"
    shown = "[its report: charts, what was not accepted, variety, conversations]"
    links = [("[version 1]", ""), (shown, "/report.html"), (card, "/README.md")]
    assert " · ".join(f"{text}(<file://{report.path}{name}>)" for text, name in links) in page
    assert [line for line in page if line.startswith("| estimated before | $") and "× of it" in line]
    reasons = page[page.index("## Not accepted, refused or failed") + 2 :]
    assert re.match(
        r"- \*\*1 × refused: the API refused the request \(400\): this prompt is not to our taste\.\*\* Change .* example A · ",
        reasons[0],
    )
    low = "score below 6: length below 100 characters a turn on average, turns below 8"
    assert reasons[1].startswith(f"- **1 × needs revision: {low}.** Ask in the template ")
    assert [line for line in page if line.startswith("### A · Fear · ") and line.endswith("template: score 10")]
    assert [line for line in page if line.startswith("**assistant:** ")]
    [image] = [line for line in page if line.startswith("![accepted conversations by cell](data:image/svg+xml;base64,")]
    drawn = ElementTree.fromstring(b64decode(image.partition("base64,")[2].rstrip(")")))
    assert [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")].count("1/1") == 1
    again = report_in(run_build(spec="story-small", simulate=True))
    assert operator.run(again.run_id).name == "story-small · nothing to make · simulated"


@pytest.mark.parametrize(
    "typed", ["my own name", "night-test", "beta-test", "demo", "demo · 5 to make", "first night", "Second-Night"]
)
def test_a_typed_name_is_kept(typed: str) -> None:
    assert not is_made_up(typed)


def test_what_prefect_makes_up_is_no_name() -> None:
    assert all(is_made_up(generate_slug(2)) for _ in range(500))
    assert is_made_up("theta4-lyrae-cluster")
    assert is_made_up("Refined-Shark")


def test_a_flow_that_is_not_async_is_named_after_a_parameter_unless_somebody_named_it(prefect_server: str) -> None:
    @flow(flow_run_name=named_after("dataset"))
    def train(dataset: str) -> str:
        return str(flow_run.name)

    assert train("a version") == "a version"
