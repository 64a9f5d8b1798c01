"""`make up` and `make down` for real: a closed server, a worker, deployments and schedules that run, and nothing left of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from house import ROOT, House
from support import Done
from watching import free_port, prefect_home, wait_for

from convoforge.orchestration.processes import Process
from convoforge.orchestration.schedules import read_schedules
from convoforge.rate import fingerprint
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.launch import simulator_process

pytestmark = pytest.mark.timeout(600)  # a server, a worker and a dozen `prefect` commands, on a machine that may be busy


@pytest.fixture(scope="module")
def house(_own_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, port = tmp_path_factory.mktemp("house"), free_port()
    with simulator_process(latency_ms=400) as url:
        environment = {
            "PREFECT_HOME": str(prefect_home(folder / "prefect")),
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "CONVOFORGE_DATA_DIR": str(folder / "data"),
            "ANTHROPIC_BASE_URL": url,
        }
        made = House(folder, environment, port, SimulatorControl(url))
        yield made
        made.local("down")


@pytest.fixture(scope="module")
def up(house: House) -> Done:
    """The first `make up`, by a shell that has no key."""
    return house.local("up")


@dataclass(frozen=True)
class Again:
    """A second `make up`, by a shell with a key, of a house whose pool takes commands again, and the processes and the pool before it."""

    up: Done
    before: list[Process]
    template: Any


@pytest.fixture(scope="module")
def again(up: Done, house: House) -> Again:
    before, template = house.processes(), house.template()
    opened = {
        "job_configuration": {"command": "{{ command }}"},
        "variables": {"type": "object", "properties": {"command": {"type": "string"}}},
    }
    assert house.send("PATCH", "/work_pools/convoforge", {"base_job_template": opened}, auth=house.auth)[0] == 204
    return Again(house.local("up", ANTHROPIC_API_KEY="sk-of-this-shell"), before, template)


def test_down_without_up_says_so(house: House) -> None:
    down = house.local("down")
    assert (down.code, down.err) == (0, "")
    assert down.out.splitlines()[0] == f"nothing was running (PREFECT_HOME={house.home})"


def test_up_makes_a_house_that_builds(up: Done, house: House) -> None:
    assert up.code == 0, up.out + up.err
    assert f"Prefect UI  http://127.0.0.1:{house.port}\n" in up.out
    assert f"the UI asks for it once; it is in {house.home}/convoforge-server.auth\n" in up.out
    assert "API key     none: runs that are not simulated fail. Set ANTHROPIC_API_KEY, then: make up" in up.out
    names = {one["name"] for one in house.ask("/deployments/filter")}
    assert names == {"build", "nightly", "requests", "worker", "collect", "costs", "on-publish"}
    done = house.prefect(
        "deployment", "run", "build-dataset/build", "-p", "spec=demo", "-p", 'options={"simulate": true}', "--watch"
    )
    assert done.code == 0, done.out + done.err
    [run] = house.ask("/flow_runs/filter", deployments={"name": {"any_": ["build"]}})
    message = f"all 60 accepted; more: convoforge status {run['id'][:8]}"
    assert (run["name"], run["state"]["name"], run["state"]["message"]) == (
        "demo · 60 to make · simulated",
        "Completed",
        message,
    )
    assert {"convoforge", "demo", "simulated"} <= set(run["tags"])
    said = " ".join(done.out.split())  # rich wraps at 80 columns
    assert "Plan: 60 conversations in 60 cells" in said and f"Finished in state Completed('{message}')" in said
    version = house.folder / "data" / "simulated" / "demo" / "latest"
    assert {path.name.partition("-")[0] for path in version.glob("data/*.parquet")} == {"train", "validation"}


@pytest.mark.long
def test_a_watched_run_that_fails_says_why_and_where_to_read_more_and_the_command_fails(up: Done, house: House) -> None:
    done = house.prefect(
        "deployment", "run", "build-dataset/build", "-p", "spec=demo", "--flow-run-name", "without a key", "--watch"
    )
    assert done.code == 1
    [run] = house.ask("/flow_runs/filter", flow_runs={"name": {"any_": ["without a key"]}})
    message = run["state"]["message"]
    assert "set ANTHROPIC_API_KEY" in message and message.endswith(f"; more: prefect flow-run logs {run['id']}")
    assert "Finished in state Failed(" in done.out and "set ANTHROPIC_API_KEY" in " ".join(done.out.split())


def test_each_schedule_has_a_next_run_which_up_reads_back_from_the_server(up: Done, house: House) -> None:
    schedules = {one.name: one for one in read_schedules(house.api, house.auth)}
    periods = {
        "build-dataset/nightly": timedelta(days=1),
        "collect-message-batches/collect": timedelta(minutes=15),
        "cost-report/costs": timedelta(days=7),
    }
    assert schedules.keys() == periods.keys()
    now = datetime.now(UTC)
    for name, period in periods.items():
        next_run = schedules[name].next_run
        assert next_run is not None, f"the server schedules no run of {name}"
        assert now - timedelta(minutes=2) < next_run <= now + period
    assert schedules["build-dataset/nightly"].next_run.hour == 2
    for name in periods:
        assert f"  {name}  " in up.out
    assert f"next run {schedules['build-dataset/nightly'].next_run:%Y-%m-%d} 02:00 UTC" in up.out


@pytest.mark.long
def test_a_schedule_of_seconds_makes_runs_that_the_worker_executes(house: House) -> None:
    costs = house.deployment("costs")
    anchor = datetime.now(UTC).isoformat()
    every = {"schedule": {"interval": 15, "anchor_date": anchor}, "active": True, "slug": "often"}
    [made] = house.ask(f"/deployments/{costs}/schedules", [every])
    try:
        done = wait_for(
            lambda: [
                run
                for run in house.ask("/flow_runs/filter", deployments={"name": {"any_": ["costs"]}})
                if run["auto_scheduled"] and run["state"]["type"] == "COMPLETED"
            ],
            "a scheduled run that is Completed",
            150,
        )
    finally:
        code, said = house.send("DELETE", f"/deployments/{costs}/schedules/{made['id']}", auth=house.auth)
        assert code == 204, said
    assert all(run["start_time"] >= run["expected_start_time"][:19] for run in done)


@pytest.mark.long
def test_a_paused_schedule_stays_paused_and_up_says_so(house: House) -> None:
    assert house.prefect("deployment", "schedule", "pause", "--all").code == 0
    up = house.local("up")
    assert up.code == 0, up.err
    assert up.out.count("  paused\n") == 3
    assert "next run" not in up.out
    assert house.prefect("deployment", "schedule", "resume", "--all").code == 0


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_a_foreign_web_page_is_not_let_in(house: House, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    request = urllib.request.Request(f"{house.api}/deployments/filter", headers=asked, method="OPTIONS")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 400
    assert "access-control-allow-origin" not in refused.value.headers
    code, _ = house.send("POST", "/deployments/filter", {}, headers={"origin": origin, "content-type": "text/plain"})
    assert code == 401  # what needs no preflight needs the auth string all the same
    rebound = {"host": "evil.example", "origin": "http://evil.example"}
    for path in ("/deployments/filter", "/flow_runs/filter", "/work_pools/filter", "/block_documents/filter"):
        assert house.send("POST", path, {}, headers=rebound)[0] == 401
    for path in ("/admin/settings", "/admin/version", "/hello", "/openapi.json", "/docs"):
        assert house.send("GET", path, headers=rebound)[0] == 401


def test_nothing_of_an_attackers_runs_with_or_without_the_auth_string(house: House) -> None:
    marker = house.folder / "marker"
    evil = house.folder / "evil"
    evil.mkdir()
    (evil / "sitecustomize.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    overrides: list[dict[str, Any]] = [
        {"command": f"touch {marker}"},
        {"env": {"PYTHONPATH": str(evil)}},
        {"env.PYTHONPATH": str(evil)},
        {"working_dir": str(evil)},
        {"name": "x", "labels": {"x": "y"}},
    ]
    costs = house.deployment("costs")
    nightly = {"deployments": {"name": {"any_": ["nightly"]}}, "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    [scheduled, *_] = wait_for(lambda: house.ask("/flow_runs/filter", **nightly), "a scheduled run", 90)
    ours = house.auth
    for auth in (None, "", "convoforge:wrong", ours[:-1], ours + "x", ours):
        known = auth == ours
        for job_variables in overrides:
            body = {"job_variables": job_variables}
            refused = 422 if known else 401
            assert house.send("POST", f"/deployments/{costs}/create_flow_run", body, auth=auth)[0] == refused
            if not known:
                assert house.send("PATCH", f"/deployments/{costs}", body, auth=auth)[0] == 401
            assert house.send("PATCH", f"/flow_runs/{scheduled['id']}", body, auth=auth)[0] == refused
    # a deployment that is changed is not checked by the server; its runs are
    assert house.send("PATCH", f"/deployments/{costs}", {"job_variables": overrides[0]}, auth=ours)[0] == 204
    assert house.send("POST", f"/deployments/{costs}/create_flow_run", {}, auth=ours)[0] == 422
    assert house.send("PATCH", f"/deployments/{costs}", {"job_variables": {}}, auth=ours)[0] == 204
    # a run without a deployment is not checked by the server; the pool's template has no place for what it brings
    [flow] = house.ask("/flows/filter", flows={"name": {"any_": ["cost-report"]}})
    loose = house.ask(
        "/flow_runs/",
        flow_id=flow["id"],
        work_pool_name="convoforge",
        job_variables={**overrides[0], **overrides[1], **overrides[3]},
        state={"type": "SCHEDULED"},
    )
    ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

    def state_of(run: str) -> Any:
        return house.runs(id={"any_": [run]}, state={"type": {"any_": list(ends)}})

    [ended] = wait_for(lambda: state_of(loose["id"]), "the end of the loose run", 120)
    assert ended["state"]["type"] != "COMPLETED"
    # the deployment takes one run at a time, and those of the test of schedules may still be ending: a new one would be cancelled
    at_work = {"deployments": {"name": {"any_": ["costs"]}}, "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}}
    wait_for(lambda: not house.ask("/flow_runs/filter", **at_work), "the end of earlier runs", 120)
    honest = house.ask(f"/deployments/{costs}/create_flow_run")
    [ended] = wait_for(lambda: state_of(honest["id"]), "the end of an honest run", 120)
    assert ended["state"]["type"] == "COMPLETED"
    assert not marker.exists()


def test_the_auth_string_is_in_no_command_line_and_no_log_and_only_its_owner_can_read_it(house: House) -> None:
    for process in psutil.process_iter():
        try:
            assert house.auth not in " ".join(process.cmdline())
        except psutil.Error:
            continue
    for path in house.home.glob("*.log"):
        assert house.auth not in path.read_text()
    for path in [*house.home.glob("convoforge-*"), house.home / "prefect.db"]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.long
def test_a_pool_of_before_loses_its_overrides_by_up(again: Again, house: House) -> None:
    assert again.up.code == 0, again.up.err
    assert house.template() == again.template


@pytest.mark.long
def test_up_hands_the_key_that_it_prints_about_to_the_worker_that_runs_also_the_second_time(again: Again, house: House) -> None:
    assert "handing ANTHROPIC_API_KEY of this shell over to the worker" in again.up.out
    assert f"API key     {fingerprint('sk-of-this-shell')}\n" in again.up.out
    assert "sk-of-this-shell" not in again.up.out
    server, worker = house.processes()
    assert psutil.Process(worker.pid).environ()["ANTHROPIC_API_KEY"] == "sk-of-this-shell"
    assert [one.runs for one in again.before] == [True, False]
    assert (server, worker.runs) == (again.before[0], True)


@pytest.mark.long
def test_up_waits_for_the_runs_of_a_worker_that_it_hands_a_key_and_starts_nothing_where_nothing_is_new(
    again: Again, house: House
) -> None:
    before, processes = house.simulator.usage()["requests"], house.processes()
    same = house.local("up")  # by a shell without a key: the worker keeps its own
    assert "the worker keeps ANTHROPIC_API_KEY, which this shell has not set" in same.out
    assert house.processes() == processes
    slow = write_slow_spec(house)
    build = house.deployment("build")
    run = house.ask(f"/deployments/{build}/create_flow_run", parameters={"spec": str(slow), "options": {"simulate": True}})
    wait_for(lambda: house.simulator.usage()["requests"] > before, "calls of the slow run", 240)
    other = house.local("up", ANTHROPIC_API_KEY="sk-of-another-shell")
    assert "waiting for the runs of the worker to end" in other.out
    [ended] = house.runs(id={"any_": [run["id"]]})
    assert (ended["state"]["type"], house.processes() == processes) == ("COMPLETED", False)
    assert house.send("GET", "/work_pools/convoforge", auth=house.auth)[1]["is_paused"] is False


def test_down_from_another_home_says_where_the_server_belongs(house: House, tmp_path: Path) -> None:
    down = house.local("down", PREFECT_HOME=str(tmp_path))
    assert down.code == 0
    assert down.out.splitlines()[:2] == [
        f"nothing was running (PREFECT_HOME={tmp_path})",
        f"the Prefect server at port {house.port} belongs to another folder, {house.home}",
    ]
    # it is found at whatever port it listens, since one that is taken makes it take another
    assert f"what belongs to another Prefect folder goes on: PREFECT_HOME={house.home} make down" in down.out.splitlines()
    assert [one.runs for one in house.processes()] == [True, True]


def test_bad_parameters_are_refused_before_a_run_exists(house: House) -> None:
    of_build = {"deployments": {"name": {"any_": ["build"]}}}
    before = house.ask("/flow_runs/count", **of_build)
    for name, value in (("simulate", "perhaps"), ("concurrency", 5000)):
        options = f"options={json.dumps({name: value})}"
        done = house.prefect("deployment", "run", "build-dataset/build", "-p", "spec=demo", "-p", options)
        assert done.code == 1
        assert name in done.out + done.err
    assert house.ask("/flow_runs/count", **of_build) == before


def test_up_does_not_take_the_place_of_a_server_that_is_named(house: House) -> None:
    up = house.local("up", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert up.code == 1
    assert up.err.startswith("PREFECT_API_URL=http://127.0.0.1:9/api names a server already")


def write_slow_spec(house: House) -> Path:
    """240 conversations of 0.4 s, one after another: a second `make up` takes half a minute where other work has the machine."""
    spec = (ROOT / "configs" / "datasets" / "demo.yaml").read_text()
    spec = spec.replace("concurrency: 20", "concurrency: 1").replace("sample: 60", "sample: 240")
    slow = house.folder / "slow.yaml"
    slow.write_text(spec.replace("name: demo", "name: slow"))
    return slow


def test_down_lets_runs_drain_and_leaves_no_process_and_no_port(house: House) -> None:
    slow = write_slow_spec(house)
    before = house.simulator.usage()["requests"]
    [build] = house.ask("/deployments/filter", deployments={"name": {"any_": ["build"]}})
    house.ask(f"/deployments/{build['id']}/create_flow_run", parameters={"spec": str(slow), "options": {"simulate": True}})
    wait_for(lambda: house.simulator.usage()["requests"] > before, "calls of the slow run")
    processes = house.processes()
    down = house.local("down")
    assert down.out.splitlines()[:2] == ["letting a run drain …", "stopped"]
    assert [one.runs for one in processes] == [False, False]
    assert house.processes() == []
    with pytest.raises(OSError, match="refused"):
        house.ask("/flow_runs/count")
    [(state, message)] = house.ledger("SELECT state, message FROM runs ORDER BY started_at DESC LIMIT 1")
    assert (state, message.partition(";")[0]) == ("partial", "stopped by SIGTERM")
    assert house.ledger("SELECT DISTINCT status FROM generation_logs") == [("succeeded",)]
    assert house.ledger("SELECT count(*) FROM owners") == [(0,)]
