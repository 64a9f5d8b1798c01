"""One build on several workers, each a real `prefect worker` process: the work is shared, and every promise holds across them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars
import psutil
import pytest
import s3fs  # type: ignore[import-untyped]
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Cancelling
from prefect.utilities.callables import parameter_schema
from storm.reconciliation import Reconciliation
from support import Project
from watching import Operator, wait_for

from convoforge.errors import ConfigError
from convoforge.flows.join_build import join_build
from convoforge.orchestration import joining
from convoforge.orchestration.joining import check_sources, hash_sources
from convoforge.planning.plan import Plan, make_plan
from convoforge.planning.spec import DatasetSpec, load_spec
from convoforge.planning.templates import Library
from convoforge.simulator.client import SimulatorControl
from deployments.local import POOL

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOYMENTS = ROOT / "deployments" / "prefect.yaml"
FIFTY = {
    "persona": ["Anxious Investor", "Confident Advisor", "First-Time Saver", "New Parent", "Gig Worker"],
    "emotion": ["Fear", "Calm", "Hope", "Doubt", "Relief"],
    "topic": ["market volatility", "retirement planning"],
    "tier": ["template"],
}
EASY: dict[str, Any] = {"quality": {"min_score": 1}}
EIGHT_AT_ONCE = {"max_requests": 100_000, "concurrency": 8}

PATIENCE = 240.0
"""Four workers that start on two busy cores take their time."""

RunFlow = Callable[..., State[Any]]
Start = Callable[..., subprocess.Popen[str]]
StartWorkers = Callable[[int], list["Worker"]]


def long(test: Callable[..., None]) -> Callable[..., None]:
    """A test that takes a minute where nothing else goes on."""
    return pytest.mark.long(pytest.mark.timeout(900)(test))


class Worker:
    """A `prefect worker` process that does one run at a time."""

    def __init__(self, number: int, project: Project) -> None:
        self._log = project.folder / f"worker-{number}.log"
        environment = {**os.environ, **project.environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "prefect",
                    "worker",
                    "start",
                    "--pool",
                    "convoforge",
                    "--limit",
                    "1",
                    "--name",
                    f"w{number}",
                ],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def started(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        return "started!" in self._log.read_text()

    @property
    def runs(self) -> list[psutil.Process]:
        """The processes of its flow runs."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """End worker and runs as a power cut would."""
        runs = self.runs
        self.process.kill()
        self.process.wait()
        for run in runs:
            try:
                run.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(runs, timeout=30)


@pytest.fixture(scope="session")
def deployed(prefect_server: str) -> str:
    """The Prefect server, with the work pool and the deployment that workers run; `prefect deploy` takes 20 s for the same."""
    [shard] = [one for one in yaml.safe_load(DEPLOYMENTS.read_text())["deployments"] if one["name"] == "worker"]
    assert shard["entrypoint"] == "convoforge.flows.join_build.join_build"
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
        client.create_deployment(
            flow_id=client.create_flow(join_build),
            name=shard["name"],
            entrypoint=shard["entrypoint"],
            work_pool_name=shard["work_pool"]["name"],
            parameter_openapi_schema=parameter_schema(join_build).model_dump_for_openapi(),
            pull_steps=[],
        )
    return prefect_server


@pytest.fixture
def start_workers(building: Project, deployed: str) -> Iterator[StartWorkers]:
    with ExitStack() as stack:

        def start(count: int) -> list[Worker]:
            made = [Worker(number, building) for number in range(count)]
            for one in made:
                stack.callback(one.kill)
            wait_for(lambda: all(one.started for one in made), f"{count} workers", PATIENCE)
            return made

        yield start


@contextmanager
def building_on(
    project: Project, simulator: SimulatorControl, name: str, workers: int, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """A build with so many workers, begun; it is over when the context is."""
    process = project.start(
        "build", name, "--simulate", "--json", "--workers", f"{workers}", *arguments, ANTHROPIC_BASE_URL=simulator.url
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def join(building: Project) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a process that joins the build that goes on, by its run's id alone; it prints how it has ended."""
    started = []

    def start() -> subprocess.Popen[str]:
        [(run,)] = ledger_rows(building, "SELECT id FROM runs")
        code = (
            "import asyncio; from convoforge.flows.join_build import join_build; "
            f"print(asyncio.run(join_build('{run}', return_state=True)).name)"
        )
        environment = {**os.environ, **building.environment, "PREFECT_LOGGING_LEVEL": "CRITICAL"}
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def report_of(process: subprocess.Popen[str], code: int = 0) -> dict[str, Any]:
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, out + err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return {**found, "said": err}


def ledger_rows(project: Project, query: str) -> list[Any]:
    with sqlite3.connect(project.data / "ledger.db") as connection:
        return connection.execute(query).fetchall()


def shares(project: Project) -> list[int]:
    """How many answers each process has brought."""
    query = "SELECT count(*) FROM generation_logs WHERE status = 'succeeded' GROUP BY owner"
    return [count for (count,) in ledger_rows(project, query)]


def accepted(data: Path, name: str) -> set[str]:
    """The conversations of a dataset's newest version."""
    folder = data / "simulated" / name / "latest" / "data"
    ids = polars.concat([polars.read_parquet(path, columns=["conversation_id"]) for path in folder.glob("*.parquet")])
    return set(ids["conversation_id"])


def assert_nothing_was_sent_twice(project: Project, simulator: SimulatorControl, report: dict[str, Any]) -> None:
    """Simulator, ledger and report agree on how many requests there were, and each was one."""
    sent = simulator.usage()["requests"]
    assert ledger_rows(project, "SELECT count(*), count(DISTINCT request_id) FROM generation_logs") == [(sent, sent)]
    assert report["generated"] == sent == sum(shares(project))


def all_at_work(project: Project, simulator: SimulatorControl, processes: int) -> None:
    """Wait until that many processes have brought answers."""
    wait_for(lambda: simulator.usage()["requests"] > 0, "calls", PATIENCE)
    wait_for(lambda: len(shares(project)) >= processes, f"{processes} processes at work", PATIENCE)


def all_gone(project: Project) -> None:
    """Wait until the workers have seen that their build is over."""
    wait_for(lambda: ledger_rows(project, "SELECT count(*) FROM owners") == [(0,)], "the workers' ends", PATIENCE)


def assert_all_at_rest(project: Project) -> None:
    """Nobody holds anything any more."""
    all_gone(project)
    assert ledger_rows(project, "SELECT count(*) FROM requests WHERE state IN ('claimed', 'pending')") == [(0,)]
    assert ledger_rows(project, "SELECT count(*) FROM generation_logs WHERE status = 'open'") == [(0,)]
    assert ledger_rows(project, "SELECT sum(reserved_pico) FROM budgets") == [(0,)]


@pytest.mark.long
def test_two_workers_share_a_build(
    start_workers: StartWorkers, building: Project, slow_simulator: SimulatorControl, operator: Operator
) -> None:
    building.spec("two", axes=FIFTY, per_cell=3, **EASY, limits={"max_requests": 100_000, "concurrency": 3})
    start_workers(2)
    with building_on(building, slow_simulator, "two", 2) as process:
        report = report_of(process)
    assert (report["state"], report["accepted"], report["version"], report["failed"]) == ("completed", 150, 1, 0)
    assert_nothing_was_sent_twice(building, slow_simulator, report)
    assert ledger_rows(building, "SELECT id, state FROM runs") == [(report["run_id"], "completed")]
    assert len(shares(building)) > 1
    assert_all_at_rest(building)

    def ends() -> list[str]:
        runs = [operator.newest(f"two: worker {number} of 2") for number in (1, 2)]
        return [run.state.name for run in runs if run is not None and run.state is not None and run.state.is_final()]

    wait_for(lambda: len(ends()) == 2, "the ends of two runs", PATIENCE)
    # a worker that starts late on a busy machine may find nothing left to do
    assert "Completed" in ends()
    assert set(ends()) <= {"Completed", "Cancelled"}


@pytest.mark.long
def test_workers_let_the_judge_read_too_and_nothing_is_judged_twice(
    join: Callable[[], subprocess.Popen[str]], building: Project, deployed: str, slow_simulator: SimulatorControl
) -> None:
    points = dict.fromkeys(("persona", "emotion", "topic", "advice", "talk", "roles"), 1)
    quality = {"min_score": 1, "judge": {"rubric": "training", "min": points}}
    building.spec("judged", axes=FIFTY, quality=quality, limits={"max_requests": 100_000, "concurrency": 4})
    with building_on(building, slow_simulator, "judged", 1) as process:
        wait_for(lambda: slow_simulator.usage()["requests"] > 0, "calls", PATIENCE)
        join()
        report = report_of(process)
    assert (report["state"], report["accepted"], report["judged"]) == ("completed", 50, 50)
    judged = "FROM generation_logs WHERE purpose = 'judge' AND status = 'succeeded'"
    assert ledger_rows(building, f"SELECT count(DISTINCT request_id), count(*), count(DISTINCT owner) {judged}") == [(50, 50, 2)]
    assert_all_at_rest(building)


def test_a_build_that_no_worker_joins_generates_by_itself(
    run_build: RunFlow, building: Project, deployed: str, operator: Operator
) -> None:
    building.spec("nobody", axes=FIFTY, sample=20)
    state = run_build(spec="nobody", simulate=True, workers=2)
    assert (state.type.value, state.name) == ("COMPLETED", "Completed")
    assert state.message is not None and state.message.startswith("all 20 accepted; more: ")
    waiting = operator.newest("nobody: worker 1 of 2")
    assert waiting is not None and waiting.state is not None and waiting.state.is_scheduled()
    assert len(shares(building)) == 1
    [(spec,)] = ledger_rows(building, "SELECT spec FROM runs")
    assert DatasetSpec.from_text(spec).limits.concurrency == 8 // 3  # its share, also while nobody else has come
    for number in (1, 2):  # else a worker of the next test takes them
        operator.set_state(f"nobody: worker {number} of 2", Cancelled(), force=True)


def test_a_limit_is_kept_by_letting_nobody_join(run_build: RunFlow, building: Project, deployed: str, operator: Operator) -> None:
    building.spec("limited", axes=FIFTY)
    state = run_build(spec="limited", simulate=True, workers=2, limit=12)
    assert (state.name, len(ledger_rows(building, "SELECT 1 FROM generation_logs"))) == ("Limited", 12)
    assert operator.newest("limited: worker 1 of 2") is None
    assert ledger_rows(building, "SELECT sources FROM runs") == [(None,)]


def test_workers_without_their_deployment_are_refused_on_one_line(
    run_build: RunFlow, building: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "DEPLOYMENT", "join-build/elsewhere")
    building.spec("undeployed")
    state = run_build(spec="undeployed", simulate=True, workers=2)
    assert state.type.value == "FAILED"
    assert state.message is not None and "run `make up`, or deploy" in state.message and "\n" not in state.message


def test_workers_without_a_server_are_refused_on_one_line(project: Project) -> None:
    from watching import free_port

    project.spec("serverless")
    environment = {"PREFECT_HOME": str(project.folder / "prefect"), "PREFECT_SERVER_API_PORT": str(free_port())}
    done = project.run("build", "serverless", "--simulate", "--json", "--workers", "2", **environment)
    said = "convoforge: --workers needs a Prefect server with workers: run `make up`, or set PREFECT_API_URL\n"
    assert (done.code, done.err) == (2, said)


def test_a_part_of_a_build_that_is_not_in_this_ledger_is_refused(run_flow: RunFlow) -> None:
    state = run_flow(join_build, run_id="0" * 32)
    assert state.type.value == "FAILED"
    assert state.message is not None and "is not in this worker's ledger: give it the CONVOFORGE_DATABASE_URL" in state.message


def test_a_part_of_a_build_that_is_over_has_nothing_to_do(
    run_flow: RunFlow, run_build: RunFlow, building: Project, simulator: SimulatorControl
) -> None:
    building.spec("over")
    run_build(spec="over", simulate=True, limit=1)
    [(run,)] = ledger_rows(building, "SELECT id FROM runs")
    sent = simulator.usage()["requests"]
    state = run_flow(join_build, run_id=run)
    assert (state.type.value, simulator.usage()["requests"]) == ("CANCELLED", sent)


def test_another_checkout_is_told_by_its_templates_and_personas(project: Project) -> None:
    def plan_here() -> Plan:
        configs = project.folder / "configs"
        return make_plan(load_spec("same", configs), Library.at(configs), "simulator")

    project.spec("same")
    wanted = hash_sources(plan_here())
    check_sources(plan_here(), wanted)
    persona = project.folder / "configs" / "personas" / "anxious-investor.yaml"
    persona.write_text(persona.read_text() + "\n# a comment is nothing that is sent\n")
    check_sources(plan_here(), wanted)
    template = project.folder / "configs" / "templates" / "advice.yaml"
    template.write_text(template.read_text() + "\n# another text\n")
    with pytest.raises(ConfigError, match="other prompts than the build: templates/advice differ"):
        check_sources(plan_here(), wanted)


@long
def test_four_workers_make_four_hundred_conversations_and_each_once(
    start_workers: StartWorkers, building: Project, slow_simulator: SimulatorControl
) -> None:
    building.spec("four", axes=FIFTY, per_cell=8, limits=EIGHT_AT_ONCE)
    start_workers(4)
    with building_on(building, slow_simulator, "four", 4) as process:
        report = report_of(process)
    assert (report["state"], report["accepted"], report["version"], report["failed"]) == ("completed", 400, 1, 0)
    assert_nothing_was_sent_twice(building, slow_simulator, report)
    assert ledger_rows(building, "SELECT count(*) FROM versions") == [(1,)]
    assert len([share for share in shares(building) if share >= 20]) >= 4
    assert_all_at_rest(building)


@long
def test_four_workers_share_a_ledger_in_postgresql_and_a_bucket(
    start_workers: StartWorkers,
    building: Project,
    slow_simulator: SimulatorControl,
    postgres: Callable[[str], str],
    s3_environment: dict[str, str],
) -> None:
    s3fs.S3FileSystem().mkdir("shared")
    ledger = postgres("four_workers")
    building.environment |= {**s3_environment, "CONVOFORGE_DATABASE_URL": ledger, "CONVOFORGE_DATA_DIR": "s3://shared/data"}
    building.spec("four", axes=FIFTY, per_cell=8, limits=EIGHT_AT_ONCE)
    start_workers(4)
    with building_on(building, slow_simulator, "four", 4) as process:
        report = report_of(process)
    assert (report["state"], report["accepted"], report["version"], report["failed"]) == ("completed", 400, 1, 0)
    assert report["path"] == "s3://shared/data/versions/simulated/four/v0001"
    assert len(s3fs.S3FileSystem().ls("shared/data/versions/simulated/four/v0001/data")) == 2
    reconciliation = Reconciliation(ledger, SimulatorControl(slow_simulator.url))
    wait_for(lambda: reconciliation.count("owners") == 0, "an end of the workers: the build waits for none of them")
    reconciliation.check()
    assert slow_simulator.usage()["requests"] == report["generated"] == reconciliation.count("generation_logs")
    assert len(reconciliation.rows("SELECT owner FROM generation_logs GROUP BY owner HAVING count(*) >= 20")) >= 4


@long
def test_what_a_killed_worker_had_claimed_is_taken_over(
    start_build: Start, join: Start, building: Project, slow_simulator: SimulatorControl
) -> None:
    process = start_build("killed", axes=FIFTY)
    killed, _ = join(), join()
    all_at_work(building, slow_simulator, 3)
    killed.kill()
    report = report_of(process)
    assert (report["state"], report["accepted"]) == ("completed", 400)
    [(attempts, lost)] = ledger_rows(building, "SELECT count(*), sum(status = 'lost') FROM generation_logs")
    assert 0 <= lost <= 3  # what it had in flight
    assert attempts - lost <= slow_simulator.usage()["requests"] <= attempts
    costs = building.run("costs", "--simulated", "--json").last
    assert (costs["attempts"], costs["maybe_billed"]) == (attempts, lost)
    assert ledger_rows(building, "SELECT count(*) FROM answers") == ledger_rows(
        building, "SELECT count(DISTINCT request_id) FROM answers"
    )
    assert_all_at_rest(building)
    undisturbed = building.folder / "undisturbed"
    alone = building.run(
        "build",
        "killed",
        "--simulate",
        "--json",
        "--concurrency",
        "8",
        CONVOFORGE_DATA_DIR=str(undisturbed),
        ANTHROPIC_BASE_URL=slow_simulator.url,
    )
    assert alone.code == 0, alone.err
    assert accepted(building.data, "killed") == accepted(undisturbed, "killed")


@long
def test_a_run_budget_holds_across_workers_to_the_cent(
    start_build: Start, join: Start, building: Project, slow_simulator: SimulatorControl
) -> None:
    process = start_build("thrifty", "--budget", "2", axes=FIFTY)
    join(), join()
    report = report_of(process, 3)
    assert report["state"] == "partial" and report["message"].startswith("run budget reached at $")
    assert 0 < Decimal(report["cost_usd"]) <= Decimal(2)
    [(spent, maybe)] = ledger_rows(building, "SELECT spent_pico, maybe_pico FROM budgets WHERE scope LIKE 'run:%'")
    assert (Decimal(spent) / 10**12, maybe) == (Decimal(report["cost_usd"]), 0)
    assert_nothing_was_sent_twice(building, slow_simulator, report)
    assert len(shares(building)) > 1
    all_gone(building)
    assert ledger_rows(building, "SELECT sum(reserved_pico) FROM budgets") == [(0,)]


@long
def test_what_is_fatal_for_the_build_stops_its_workers_too(
    start_workers: StartWorkers, building: Project, slow_simulator: SimulatorControl
) -> None:
    building.spec("fatal", axes=FIFTY, per_cell=8, limits=EIGHT_AT_ONCE)
    start_workers(2)
    with building_on(building, slow_simulator, "fatal", 2) as process:
        all_at_work(building, slow_simulator, 3)
        slow_simulator.script(*["402"] * 50)
        report = report_of(process, 1)
    assert report["state"] == "failed" and "402" in report["message"]
    assert report["generated"] < 400
    all_gone(building)
    assert ledger_rows(building, "SELECT count(*) FROM generation_logs WHERE status IN ('open', 'lost')") == [(0,)]


@long
@pytest.mark.parametrize("how", ["SIGTERM", "Cancel"])
def test_a_build_that_is_stopped_stops_its_workers_and_they_drain(
    start_workers: StartWorkers, building: Project, slow_simulator: SimulatorControl, operator: Operator, how: str
) -> None:
    name = f"stopped-{how.lower()}"
    building.spec(name, axes=FIFTY, per_cell=8, limits=EIGHT_AT_ONCE)
    start_workers(2)
    with building_on(building, slow_simulator, name, 2) as process:
        all_at_work(building, slow_simulator, 3)
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            operator.set_state(f"{name} ·", Cancelling())  # the build, and no worker of it
        report = report_of(process, 3)
    assert report["state"] == "partial" and 0 < report["generated"] < 400
    assert_nothing_was_sent_twice(building, slow_simulator, report)
    assert ledger_rows(building, "SELECT DISTINCT status FROM generation_logs") == [("succeeded",)]
    assert ledger_rows(building, "SELECT count(*) FROM requests WHERE state = 'claimed'") == [(0,)]
    all_gone(building)


@long
def test_workers_end_when_their_build_is_killed(
    start_build: Start, join: Start, building: Project, slow_simulator: SimulatorControl
) -> None:
    process = start_build("orphaned", axes=FIFTY)
    workers = join(), join()
    all_at_work(building, slow_simulator, 3)
    process.kill()
    assert [one.communicate(timeout=PATIENCE)[0].split() for one in workers] == [["Completed"]] * 2
    of_workers = "SELECT DISTINCT status FROM generation_logs WHERE owner NOT IN (SELECT owner FROM runs)"
    assert ledger_rows(building, of_workers) == [("succeeded",)]
    assert ledger_rows(building, "SELECT count(*) FROM answers") < [(400,)]


@long
def test_one_more_process_joins_a_build_by_its_runs_id_alone_and_leaves_the_rest_to_it(
    start_build: Start, join: Start, building: Project, slow_simulator: SimulatorControl
) -> None:
    process = start_build("joined", per_cell=40)
    joined = join()
    all_at_work(building, slow_simulator, 2)
    joined.send_signal(signal.SIGTERM)
    assert joined.communicate(timeout=PATIENCE)[0].split() == ["Cancelled"]
    report = report_of(process)
    assert (report["state"], report["accepted"], report["failed"]) == ("completed", 320, 0)
    assert_nothing_was_sent_twice(building, slow_simulator, report)
    assert ledger_rows(building, "SELECT DISTINCT run_id FROM generation_logs") == [(report["run_id"],)]
    assert_all_at_rest(building)
