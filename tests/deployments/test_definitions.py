"""What deployments/*.yaml define fits the flows: a scheduled run must not find out at two in the morning."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.schedules import construct_schedule
from prefect.events.schemas.automations import AutomationCore
from prefect.utilities.callables import parameter_schema

from convoforge.flows.build_dataset import build_dataset
from convoforge.flows.generate_requests import generate_requests
from convoforge.orchestration.approval import APPROVAL_EVENT
from convoforge.orchestration.server_log import read_errors
from convoforge.planning.spec import load_spec
from convoforge.tasks.progress import BUDGET_EVENT

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())
AUTOMATIONS = yaml.safe_load((ROOT / "deployments" / "automations.yaml").read_text())["automations"]


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    module, _, name = deployment["entrypoint"].rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Flow)
    return found


@pytest.fixture(params=PROJECT["deployments"], ids=lambda one: one["name"])
def deployment(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param  # type: ignore[no-any-return]


def test_an_entrypoint_leads_to_a_flow_whose_parameters_fit(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    known = flow.parameters.properties
    for parameters in ({}, *(schedule.get("parameters", {}) for schedule in deployment.get("schedules", []))):
        given = {**deployment["parameters"], **parameters}
        assert given.keys() <= known.keys()
        if deployment.get("schedules"):  # nobody is there to give the rest
            flow.validate_parameters(given)


def test_a_schedule_is_one_and_what_it_builds_is_there_and_has_a_budget(deployment: dict[str, Any]) -> None:
    for schedule in deployment.get("schedules", []):
        construct_schedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert schedule["slug"]  # by it a changed schedule is found again
        assert deployment["concurrency_limit"]["limit"] == 1
        if flow_of(deployment).name == "build-dataset":  # the others pay nothing
            spec = load_spec(deployment["parameters"]["spec"], ROOT / "configs", model=None)
            assert spec.budget.run_usd is not None
            assert not deployment["parameters"].get("refresh")  # a schedule never pays for what is there


def test_names_are_given_once_and_all_go_to_the_pool_that_up_makes() -> None:
    from deployments.local import POOL

    assert {one["work_pool"]["name"] for one in PROJECT["deployments"]} == {POOL}
    assert len({one["name"] for one in PROJECT["deployments"]}) == len(PROJECT["deployments"])


@pytest.mark.parametrize("automation", AUTOMATIONS, ids=lambda one: one["name"])
def test_an_automation_is_one_that_prefect_takes(automation: dict[str, Any]) -> None:
    AutomationCore.model_validate(automation)


def test_an_automation_listens_for_the_events_of_money_that_runs_send() -> None:
    assert {BUDGET_EVENT, APPROVAL_EVENT} <= {event for one in AUTOMATIONS for event in one["trigger"]["expect"]}


def test_what_a_servers_log_says_of_a_scheduler_that_fails_is_an_error_and_a_busy_database_is_none(tmp_path: Path) -> None:
    log = (
        "10:00:00.001 | WARNING | prefect.server - slow\n"
        "10:00:01.002 | ERROR   | prefect.server.services.scheduler - Unexpected error in: InvalidRequestError()\n"
        "Traceback (most recent call last):\n  File x\nsqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML statement\n"
        "10:00:02.003 | ERROR   | prefect.server - heartbeat\nTraceback (most recent call last):\nsqlite3.OperationalError: "
        "database is locked\n"
    )
    (tmp_path / "server.log").write_text(log)
    [error] = read_errors(tmp_path / "server.log")
    assert "scheduler" in error


def test_each_field_of_a_form_is_described_and_has_its_place(deployment: dict[str, Any]) -> None:
    schema = flow_of(deployment).parameters.model_dump()
    for form in (schema, *schema["definitions"].values()):
        fields = form["properties"]
        assert [one["position"] for one in fields.values()] == list(range(len(fields)))
        assert all(one["description"].endswith(".") for one in fields.values())
        assert all(tab["title"] for one in fields.values() for tab in one.get("anyOf", ()))
        assert "simulate" not in fields or next(iter(fields)) == "simulate"
        assert not form.get("required") or form["title"] in ("Parameters", "RequestForm")  # options may be left out


def test_forms_offer_what_the_configs_hold_and_take_other_texts_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    build = parameter_schema(build_dataset).model_dump()
    [known, other] = build["properties"]["spec"]["anyOf"]
    assert known["enum"] == ["customer-support", "demo", "financial-advice"]
    model = build["definitions"]["BuildOptions"]["properties"]["model"]["anyOf"]
    assert [one["title"] for one in model] == ["Known", "Other", "Not set"]
    assert "claude-sonnet-5-5" in model[0]["enum"]
    assert "claude-3-opus-20240229" not in model[0]["enum"]  # retired
    request = parameter_schema(generate_requests).model_dump()["definitions"]["RequestForm"]["properties"]
    assert {"advice", "support-edge"} < set(request["template"]["anyOf"][0]["enum"])
    assert {"Anxious Investor", "Warm Front Desk"} < set(request["persona"]["anyOf"][0]["enum"])
    for text, fits in (("demo-2", True), ("/somewhere/a b.yaml", True), ("a b", False), ("", False)):
        assert bool(re.search(other["pattern"], text)) == fits
    monkeypatch.setenv("CONVOFORGE_CONFIG_DIR", str(tmp_path))
    assert "anyOf" not in parameter_schema(build_dataset).model_dump()["properties"]["spec"]
