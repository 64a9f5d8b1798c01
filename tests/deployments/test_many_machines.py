"""What deployments/README.md says of many machines, step by step: its own lines, on a server, a desk and workers that share a network.

The servers are PostgreSQL, S3, Prefect's, and the simulator in the place of the API. Each machine has an address, a name, a folder and processes of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from machines import Machine, Network
from support import S3_KEY, S3_SECRET, Project
from watching import wait_for

from deployments.local import POOL

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "deployments" / "README.md").read_text()
LINES = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line]

ELSEWHERE = {
    "make up": ("deployments/test_up_and_down.py", 'house.local("up"'),
    "make down": ("deployments/test_up_and_down.py", 'house.local("down"'),
    ".venv/bin/prefect deployment run 'build-dataset/build' -p spec=demo": (
        "deployments/test_up_and_down.py",
        '"build-dataset/build"',
    ),
    ".venv/bin/prefect deployment schedule pause --all": ("deployments/test_up_and_down.py", '"schedule", "pause", "--all"'),
    "convoforge approve": ("deployments/test_forms_and_nights.py", '"approve"'),
    "make alerts WEBHOOK=": ("deployments/test_alerts.py", "alerts"),
}
"""Beginnings of lines of the document that another file runs, with how that says it."""

HERE = (
    "export PREFECT_SERVER_API_AUTH_STRING=",
    "prefect server start",
    "export PREFECT_API_URL=",
    "prefect work-pool create",
    "prefect --no-prompt deploy",
    "prefect worker start",
    "convoforge build financial-advice --workers",
    "prefect deployment run 'build-dataset/build' -p spec=financial-advice",
)
"""Beginnings of lines that are run below."""

DRAWS = 240
PATIENCE = 200.0
"""Seconds for what takes a few on a machine with nothing else to do."""


def line(begin: str) -> str:
    """The one line of the document that begins so."""
    [found] = [one for one in LINES if one.startswith(begin)]
    return found


def test_every_line_of_the_document_is_run_by_a_test() -> None:
    for one in LINES:
        assert one.startswith((*HERE, *ELSEWHERE)), one
    for begin in (*HERE, *ELSEWHERE):
        assert [one for one in LINES if one.startswith(begin)], begin
    for path, how in ((ROOT / "tests" / file, how) for file, how in ELSEWHERE.values()):
        assert not path.exists() or how in path.read_text(), path


@dataclass
class Site:
    """Machines that share a Prefect server, a ledger and a data folder, as the document's table says."""

    network: Network
    server: Machine
    desk: Machine
    workers: list[Machine]
    ports: dict[str, int]
    configs: Path
    psql: Path
    setup: str = field(init=False)

    def __post_init__(self) -> None:
        where = f"{self.server.address}:{self.ports['prefect']}"
        exported = line("export PREFECT_API_URL=").replace("SERVER:4200", where).replace("USER:PASSWORD", "team:secret")
        self.setup = f"{exported}\n"

    @property
    def shared(self) -> dict[str, str]:
        """What every machine of the site has in its environment."""
        return {
            "CONVOFORGE_DATABASE_URL": f"postgresql://postgres@{self.server.address}:{self.ports['postgres']}/ledger",
            "CONVOFORGE_DATA_DIR": "s3://data/team",
            "CONVOFORGE_CONFIG_DIR": str(self.configs),
            "ANTHROPIC_BASE_URL": f"http://{self.server.address}:{self.ports['api']}",
            "ANTHROPIC_API_KEY": "sk-of-nobody",
            "AWS_ENDPOINT_URL": f"http://{self.server.address}:{self.ports['s3']}",
            "AWS_ACCESS_KEY_ID": S3_KEY,
            "AWS_SECRET_ACCESS_KEY": S3_SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }

    def ledger(self, query: str) -> list[tuple[str, ...]]:
        """Rows of the ledger, as text."""
        address = f"postgresql://postgres@127.0.0.1:{self.ports['postgres']}/ledger"
        found = self.server.run(f'{self.psql} -At -F "|" {address} -c "{query}"')
        return [tuple(row.split("|")) for row in found.splitlines()]

    def count(self, what: str) -> int:
        """How many rows there are of something."""
        return int(self.ledger(f"SELECT count(*) FROM {what}")[0][0])

    def start_worker(self, machine: Machine) -> None:
        """The last of the four commands, on a machine; back when it is there."""
        machine.start(f"{self.setup}exec {line('prefect worker start')} --name {machine.name} --limit 1", "worker.log")
        wait_for(lambda: "started!" in machine.read("worker.log"), f"the worker of {machine.name}", PATIENCE)

    def prefect(self, command: str) -> str:
        """A `prefect` command, at the desk."""
        return self.desk.run(f"{self.setup}{command}")

    def worked(self) -> set[str]:
        """The names of the machines whose processes have brought answers, and go on."""
        answered = "SELECT owner FROM generation_logs WHERE status = 'succeeded'"
        try:
            rows = self.ledger(f"SELECT DISTINCT split_part(host, '/', 1) FROM owners WHERE id IN ({answered})")
        except AssertionError:  # the ledger is not made yet
            return set()
        return {name for (name,) in rows}


PORTS = {"postgres": 5432, "s3": 9000, "simulator": 8080, "api": 8081, "prefect": 4200}


@pytest.fixture
def site(project: Project, tmp_path: Path) -> Iterator[Site]:
    network, binaries = Network(tmp_path), find_postgres()
    with TemporaryDirectory() as database:
        try:
            ports = {name: network.port(usual) for name, usual in PORTS.items()}
            server, desk, *workers = (network.add(name) for name in ("server", "desk", "worker1", "worker2", "worker3"))
            made = Site(network, server, desk, workers, ports, project.folder / "configs", binaries / "psql")
            for machine in (desk, *workers):
                machine.environment |= made.shared
            start_postgres(made, binaries, Path(database))
            start_servers(made)
            yield made
        finally:
            network.close()


def find_postgres() -> Path:
    """The programs of a PostgreSQL that has the extension which Prefect's server needs."""
    controls = Path("/usr/share/postgresql").glob("*/extension/pg_trgm.control")
    found = [Path("/usr/lib/postgresql") / control.parts[-3] / "bin" for control in controls]
    if not found:
        pytest.skip("needs PostgreSQL with pg_trgm: Debian's package `postgresql`")
    return max(found)


def start_postgres(site: Site, binaries: Path, folder: Path) -> None:
    """PostgreSQL on the server, with a database for the ledger and one for Prefect. It runs as nobody, since it refuses to run as root."""
    drop = ""
    if os.geteuid() == 0:
        drop = "setpriv --reuid nobody --regid nogroup --clear-groups "
        shutil.chown(folder, "nobody", "nogroup")
    server, port = site.server, site.ports["postgres"]
    server.run(f"cd /; {drop}{binaries}/initdb -D {folder}/db -U postgres --auth=trust --encoding=utf8 --no-sync")
    with (folder / "db" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/24 trust\n")
    command = f"{binaries}/postgres -D {folder}/db -h '*' -p {port} -c unix_socket_directories= -c fsync=off"
    server.start(f"cd /; exec {drop}{command}", "postgres.log")
    wait_for(lambda: "ready to accept connections" in server.read("postgres.log"), "PostgreSQL", PATIENCE)
    for name in ("ledger", "prefect"):
        server.run(f"{binaries}/createdb -h 127.0.0.1 -p {port} -U postgres {name}")


def start_servers(site: Site) -> None:
    """What else the machines share: S3, the simulator, and Prefect's server as the document starts it."""
    server, ports = site.server, site.ports
    server.start(f"exec python -m moto.server -H {server.address} -p {ports['s3']}", "s3.log")
    options = json.dumps({"port": ports["simulator"], "latency_ms": 3000})
    server.start(f"exec python -m convoforge.simulator '{options}'", "simulator.log")
    server.start(f"exec python tests/posing.py {server.address} {ports['api']} http://127.0.0.1:{ports['simulator']}", "api.log")
    export = line("export PREFECT_SERVER_API_AUTH_STRING=").replace("USER:PASSWORD", "team:secret")
    server.environment |= {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://postgres@{server.address}:{ports['postgres']}/prefect",
        "PREFECT_SERVER_API_PORT": str(ports["prefect"]),
    }
    export = export.replace("//SERVER:4200", f"//{server.address}:{ports['prefect']}")
    server.start(f"{export}\nexec {line('prefect server start')}", "prefect.log")
    wait_for(lambda: "Running on" in server.read("s3.log"), "the S3 server", PATIENCE)
    site.desk.run("python -c \"import s3fs; s3fs.S3FileSystem().mkdir('data')\"")
    health = f"http://{server.address}:{ports['prefect']}/api/health"
    wait_for(lambda: site.desk.reaches(health), "Prefect's server", PATIENCE)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_workers_on_many_machines_share_a_build_one_joins_one_leaves_and_one_loses_its_network(
    site: Site, project: Project
) -> None:
    topics = [f"topic {number}" for number in range(DRAWS // 4)]
    axes = {"persona": ["A", "B"], "emotion": ["Fear", "Calm"], "topic": topics, "tier": ["template"]}
    limits = {"max_requests": 100_000, "concurrency": 8}
    project.spec("many", axes=axes, limits=limits, quality={"min_score": 1}, retry={"timeout_seconds": 20})
    project.spec("few", limits=limits, quality={"min_score": 1})
    first, second, third = site.workers

    site.prefect(line("prefect work-pool create"))
    site.prefect(line("prefect --no-prompt deploy"))
    site.start_worker(first)
    site.start_worker(second)
    build = line("convoforge build").replace("financial-advice", "many").replace("--workers 4", "--workers 2")
    process = site.desk.start(f"{site.setup}exec {build} --yes --json", "build.log")
    wait_for(lambda: site.worked() >= {"desk", "worker1", "worker2"}, "three machines at work", PATIENCE)
    [(run,)] = site.ledger("SELECT id FROM runs")

    # one joins
    site.start_worker(third)
    site.prefect(f"prefect deployment run join-build/worker -p run_id={run}")
    wait_for(lambda: "worker3" in site.worked(), "a third worker at work", PATIENCE)

    # one leaves
    leaving = "many: worker 1 of 2"
    site.prefect(f"prefect flow-run cancel {find_flow_run(site, leaving)['id']}")

    # one loses its network, with calls in flight
    if site.network.apart:
        site.network.cut(third)
    assert process.wait(timeout=600) == 0, site.desk.read("build.log")
    report = json.loads(site.desk.read("build.log").splitlines()[-1])
    assert (report["state"], report["accepted"], report["failed"]) == ("completed", DRAWS, 0)
    if site.network.apart:
        site.network.mend(third)

    assert site.ledger("SELECT count(*), count(DISTINCT request_id) FROM answers") == [(str(DRAWS),) * 2]
    assert site.count("requests WHERE state IN ('claimed', 'pending')") == 0
    wait_for(lambda: site.count("owners") == 0, "the workers' ends", PATIENCE)
    assert site.ledger("SELECT sum(reserved_pico)::bigint FROM budgets") == [("0",)]
    assert report["path"].startswith("s3://data/team/versions/datasets/many/")
    read = f"import polars; print(len(polars.read_parquet('{report['path']}/data/*.parquet')))"
    assert site.desk.run(f'python -c "{read}"') == f"{DRAWS}\n"

    assert find_flow_run(site, leaving)["state"]["name"] == "Cancelled"

    # the same as a run of the deployment, on the workers alone
    run_it = line("prefect deployment run 'build-dataset/build' -p spec=financial-advice").replace("financial-advice", "few")
    said = site.prefect(run_it.replace('"workers": 4', '"workers": 1') + " --watch")
    assert "Completed" in said


def find_flow_run(site: Site, name: str) -> dict[str, Any]:
    """The flow run with this name, as Prefect's command line lists it."""
    found: list[dict[str, Any]] = json.loads(site.prefect("prefect flow-run ls --limit 50 --output json"))
    [run] = [one for one in found if one["name"] == name]
    return run


def test_the_schedule_that_the_document_shows_is_one(tmp_path: Path) -> None:
    [entry] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    project = (ROOT / "deployments" / "prefect.yaml").read_text() + "\n" + entry
    [*_, added] = yaml.safe_load(project)["deployments"]
    assert added["parameters"] == {"spec": "customer-support"}
    assert added["work_pool"]["name"] == POOL
