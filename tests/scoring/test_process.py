"""A process of its own scores as this one would, is never waited for in vain, and outlives nobody."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from convoforge.models import Conversation, Turn
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.scoring import Rubric, ScoringContext
from convoforge.scoring.process import AT_ONCE, ScoringProcess
from convoforge.settings import ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.server]

CONFIGS = ROOT / "configs"
AXES = {"persona": ["a"], "emotion": ["b"], "topic": ["bonds"], "tier": ["template"]}
SPEC = DatasetSpec.model_validate({"name": "beside", "model": "claude-sonnet-5-5", "templates": ["advice"], "axes": AXES})
CONTEXT = ScoringContext("beside", "advice", "a", "b", "bonds", "template")


def talk(number: int) -> Conversation:
    said = (f"Is bond {number} safe?", "As an AI, I cannot say." if number % 3 else f"Bond {number} pays 2 percent a year.")
    return Conversation(tuple(Turn("assistant" if n % 2 else "user", one) for n, one in enumerate(said)))


def make(spec: DatasetSpec) -> ScoringProcess:
    return ScoringProcess(spec, Rubric.of(spec, Library.at(CONFIGS)), CONFIGS)


async def begun(process: ScoringProcess) -> psutil.Process:
    process.begin()
    await process.score(talk(0), CONTEXT)
    return next(one for one in psutil.Process().children() if "convoforge.scoring.process" in one.cmdline())


async def test_it_scores_as_this_process_does() -> None:
    process, here = make(SPEC), Rubric.of(SPEC, Library.at(CONFIGS))
    before = await process.score(talk(0), CONTEXT)
    other = await begun(process)
    talks = [talk(number) for number in range(3 * AT_ONCE)]
    assert await asyncio.gather(*(process.score(one, CONTEXT) for one in talks)) == [here.score(one, CONTEXT) for one in talks]
    assert before == here.score(talk(0), CONTEXT)
    await process.aclose()
    assert not other.is_running()
    assert await process.score(talk(1), CONTEXT) == here.score(talk(1), CONTEXT)


async def test_what_a_killed_one_was_asked_is_scored_here(caplog: pytest.LogCaptureFixture) -> None:
    process, here = make(SPEC), Rubric.of(SPEC, Library.at(CONFIGS))
    other = await begun(process)
    other.suspend()
    asked = [asyncio.create_task(process.score(talk(number), CONTEXT)) for number in range(2 * AT_ONCE)]
    await asyncio.sleep(0.1)
    with caplog.at_level(logging.WARNING):
        other.kill()
        assert await asyncio.gather(*asked) == [here.score(talk(number), CONTEXT) for number in range(2 * AT_ONCE)]
    assert "no process scores beside this one any more" in caplog.text
    await process.aclose()


async def test_one_that_cannot_load_a_scorer_leaves_it_to_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    text = "from convoforge.scoring import Points, scorer\n@scorer('mine', version=1)\ndef mine(talk, context): return Points(1, 2)\n"
    (tmp_path / "scorer_that_goes.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    process = make(SPEC.model_copy(update={"quality": SPEC.quality.model_copy(update={"scorers": ("scorer_that_goes:mine",)})}))
    (tmp_path / "scorer_that_goes.py").unlink()
    process.begin()
    assert (await process.score(talk(0), CONTEXT)).quality.score == 5
    assert "cannot be loaded" in caplog.text
    assert not process.begun
    await process.aclose()


def test_it_ends_when_who_began_it_is_killed() -> None:
    code = """
import asyncio, sys; sys.path.insert(0, "tests/scoring")
from test_process import *
async def main():
    print((await begun(make(SPEC))).pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as owner:
        assert owner.stdout is not None
        other = int(owner.stdout.readline())
        owner.kill()
    deadline = time.monotonic() + 30
    while psutil.pid_exists(other) and psutil.Process(other).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(other) or psutil.Process(other).status() == psutil.STATUS_ZOMBIE
