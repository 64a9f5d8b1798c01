"""`convoforge errors` as a person runs it: after a run that met everything, in 80 columns and as JSON."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from cli.test_costs import spent
from support import Done, Project

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
