"""`convoforge errors` as a person runs it: after a run that met everything, in 80 columns and as JSON."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from cli.test_costs import spent
from ledger.made import NOW, cell, completion, intent
from support import Done, Project

from convoforge.ledger import Ledger
from convoforge.ledger.attempts import finish_attempts, start_attempts
from convoforge.ledger.owners import make_owner, register
from convoforge.ledger.requests import read_draws, register_draws
from convoforge.ledger.runs import ensure_dataset
from convoforge.models import Usage

__all__ = ["spent"]


def test_a_run_or_a_dataset_tells_its_reasons_in_80_columns(spent: Project, run_here: Callable[..., Done]) -> None:
    done = spent.run("errors", "financial-advice", COLUMNS="80")
    assert done.code == 0, done.err
    lines = [line.rstrip() for line in done.out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert "1  failed: no reason was kept" in lines
    assert lines[0] == "dataset financial-advice, all runs"
    text = " ".join(" ".join(lines).split())
    assert "1 needs revision: score below 6" in text
    assert "→ Read some with `convoforge show DATASET --rejected`" in text
    assert "1 maybe billed: " in text
    told = run_here("errors", "financial-advice", "--json").last
    assert {one["what"]: one["count"] for one in told["reasons"]} == {"failed": 1, "maybe billed": 1, "needs revision": 1}
    assert all(one["example"] and one["to_do"] for one in told["reasons"])


def test_a_real_build_that_never_began_does_not_hide_the_simulated_dataset(
    project: Project, run_here: Callable[..., Done]
) -> None:
    with Ledger(f"sqlite:///{project.data / 'ledger.db'}") as ledger:
        owner = make_owner()
        ledger.write(register, owner, NOW)
        dataset = ledger.write(ensure_dataset, "demo", "simulator", NOW)
        ledger.write(register_draws, dataset, [(cell(0), 0)])
        one = intent(ledger.read(read_draws, dataset)[0].request_id, dataset, owner)
        ledger.write(start_attempts, [replace(one, provider="simulator")])
        ledger.write(finish_attempts, [completion(one, status="failed", answer=None, usage=Usage(), cost=0)])
    assert run_here("build", "demo").code == 2  # no key
    shown = run_here("errors", "demo").out
    assert "dataset demo, all runs (simulated)" in shown and "1  failed: " in shown
    assert "No call was made." in run_here("errors").out  # of the latest run
    assert "What was simulated is in: convoforge costs --simulated" in run_here("costs").out
    assert "convoforge costs" not in run_here("costs", "--simulated").out.partition("not accepted\n\n")[0]


def test_what_is_no_run_and_no_dataset_is_one_line(run_here: Callable[..., Done]) -> None:
    assert "No runs yet" in run_here("errors").out
    done = run_here("errors", "nope")
    assert (done.code, done.err) == (
        2,
        "convoforge: no runs begin with 'nope', and no dataset has this name: `convoforge status` lists the runs\n",
    )


def test_it_loads_neither_prefect_nor_the_sdk(spent: Project) -> None:
    code = (
        "import sys; from convoforge.cli import app; app(['errors', 'financial-advice'], result_action='return_value'); "
        "assert not {'prefect', 'anthropic', 'polars'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        env={**spent.environment, "PATH": "", "HOME": str(spent.folder)},
        check=True,
        cwd=spent.folder,
        capture_output=True,
    )
