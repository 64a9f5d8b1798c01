"""`convoforge costs` as a person runs it: what is printed, in how many columns, and what it loads for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ledger.made import CENT, NOW, answer, cell, completion, intent
from support import Project, quality

from convoforge.ledger import Ledger
from convoforge.ledger.attempts import finish_attempts, start_attempts
from convoforge.ledger.owners import make_owner, register
from convoforge.ledger.requests import read_draws, register_draws
from convoforge.ledger.runs import ensure_dataset
from convoforge.ledger.tables import datasets
from convoforge.models import Usage
from convoforge.scoring import Scored

RUN = "4f0c2d" + "0" * 26


@pytest.fixture
def spent(project: Project) -> Iterator[Project]:
    """Three answers for $3,000, one of them dropped, and a call that may have been billed."""
    project.environment["COLUMNS"] = "100"
    with Ledger(f"sqlite:///{project.data / 'ledger.db'}") as ledger:
        dataset = ledger.write(ensure_dataset, "financial-advice", "anthropic", NOW)
        ledger.write(lambda c: c.execute(datasets.update().values(min_score=6)) and None)
        owner = make_owner()
        ledger.write(register, owner, NOW)
        ledger.write(register_draws, dataset, [(cell(n), 0) for n in range(4)])
        for number, draw in enumerate(ledger.read(read_draws, dataset)):
            one = replace(intent(draw.request_id, dataset, owner), run_id=RUN, reserve_pico=150 * CENT)
            ledger.write(start_attempts, [one])
            if number == 3:
                done = completion(one, status="failed", billing="maybe", answer=None, usage=Usage(), cost=0)
            else:
                good = replace(answer(), scored=Scored("turns=1", quality((8, 9, 2)[number])), content_hash=f"{number:064}")
                use = Usage(100, 20, cache_read_tokens=900 * bool(number), cache_write_5m_tokens=900 * (not number))
                done = completion(one, answer=good, usage=use, cost=100_000 * CENT)
            ledger.write(finish_attempts, [replace(done, latency_ms=12_345)])
    yield project


def test_every_figure_has_a_line_in_words(spent: Project) -> None:
    done = spent.run("costs")
    assert done.code == 0, done.err
    figures, _, where = done.out.partition("ledger ")
    where, _, reasons = where.partition("\n\n")
    assert "1  needs revision: score below 6" in reasons and "→ " in reasons
    assert "".join(where.split()) == str(spent.data / "ledger.db")  # a long path goes on in the next line
    assert [line.rstrip() for line in figures.splitlines()] == [
        "total                $3,000.00",
        "  per attempt        $750.00",
        "  per conversation   $1,000.00",
        "  per accepted one   $1,500.00",
        "wasted               $1,000.00, 33.3% of the total",
        "  not accepted       $1,000.00 for 1 answer: declined, unusable, not good enough or twice",
        "  replaced           nothing",
        "  failed             nothing",
        "maybe billed         at most $1.50 more, for 1 call whose bill is not known",
        "attempts             4: 3 succeeded (75.0%), 1 failed",
        "  retries            0 of them",
        "conversations        3, 2 of them accepted",
        "tokens               300 in, 60 out",
        "prompt cache         1,800 tokens read, 900 written: 60.0% hits, $0.0030 saved",
        "batches              nothing",
        "latency              12.3 s in half of the calls, up to 12.3 s in 95%, up to 12.3 s in 99%",
    ]


@pytest.mark.parametrize(
    "by, name",
    [
        ("run", "4f0c2d00"),
        ("dataset", "financial-advice"),
        ("model", "claude-sonnet-5-5"),
        ("template", "advice"),
        ("day", "2026-11-22"),
    ],
)
def test_groups_are_a_table_that_lines_up_in_100_columns(spent: Project, by: str, name: str) -> None:
    lines = spent.run("costs", "--by", by).out.split("\n\n")[1].splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 100
    assert lines[1].split() == [by, "attempts", "failed", "retries", "accepted", "cost", "accepted", "wasted", "within"]
    assert lines[2].split() == [name, "4", "1", "0", "2", "$3,000.00", "$1,500.00", "$1,000.00", "12.3", "s"]


def test_json_is_one_object_with_money_as_text(spent: Project) -> None:
    found = spent.run("costs", "--json", "--by", "day").last
    assert found["cost_per_conversation_usd"] == "1000"
    assert found["waste"] == {
        "dropped": {"conversations": 1, "cost_usd": "1000"},
        "superseded": {"conversations": 0, "cost_usd": "0"},
        "retried": {"attempts": 0, "cost_usd": "0"},
        "maybe_billed": {"attempts": 1, "at_most_usd": "1.5"},
    }
    assert found["cache"] == {"hit_rate": 0.6, "saved_usd": "0.00297"}
    assert found["batch"] == {"attempts": 0, "cost_usd": "0"}
    assert found["ledger"] == str(spent.data / "ledger.db")
    assert found["groups"]["2026-11-22"] == {
        key: value for key, value in found.items() if key not in ("groups", "ledger", "reasons")
    }


def test_a_ledger_without_anything_in_it_is_no_trouble(project: Project) -> None:
    done = project.run("costs")
    assert done.code == 0
    assert "total                $0.00" in done.out


def test_it_loads_neither_prefect_nor_the_sdk_nor_alembic(spent: Project) -> None:
    code = (
        "import json, sys; from convoforge.cli import app; app(['costs', '--by', 'day'], result_action='return_value'); "
        "print(json.dumps([name for name in ('prefect', 'anthropic', 'alembic', 'psycopg') if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**spent.environment, "PATH": "", "HOME": str(spent.folder)},
        capture_output=True,
        text=True,
        check=True,
        cwd=spent.folder,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
