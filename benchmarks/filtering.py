"""How long the whole chain takes, filters and near-duplicates: 100,000 simulated conversations in a ledger, scored as in a build."""

from __future__ import annotations

import json
import resource
import sys
import time
from threading import Event, Thread
from typing import Any

import psutil

from benchmarks.measuring import in_child, verdict
from benchmarks.scale import fill, plan_rows

ROWS, SECONDS, MEGABYTES = 100_000, 180, 1_000


def main() -> bool:
    """Score them, and compare with what is wanted."""
    done = in_child("benchmarks.filtering", "score", ROWS)
    each = done["cpu"] / ROWS * 1000
    print(f"{ROWS:,} conversations, {done['accepted']:,} accepted, CPU {done['cpu']:.0f} s: {each:.2f} ms each", flush=True)
    verdicts = [
        verdict(f"seconds  {done['seconds']:.0f}", done["seconds"] <= SECONDS, f"at most {SECONDS}"),
        verdict(f"peak memory of all processes  {done['peak_mb']:.0f} MB", done["peak_mb"] <= MEGABYTES, f"at most {MEGABYTES}"),
    ]
    return all(verdicts)


def score(rows: int) -> dict[str, Any]:
    """Fill a ledger, then score it with the filters that are on by default, which did not score it before, and compare all with all."""
    from convoforge.dataset.status import read_status, score_dataset
    from convoforge.ledger import Ledger
    from convoforge.ledger.runs import find_dataset
    from convoforge.models import Conversation, Turn
    from convoforge.settings import Settings
    from convoforge.simulator.dialogue import write_conversation

    topics = ("market volatility", "late delivery", "retirement planning", "bonds", "saving for a house")

    def talk(number: int) -> Conversation:
        prompt = f"Persona: Investor {number % 97}\nEmotion: Fear\nTopic: {topics[number % 5]}\nTier: edge_case"
        return Conversation(tuple(Turn(one["role"], one["content"]) for one in write_conversation(prompt, number)))  # type: ignore[arg-type]  # the simulator's roles are text

    fill(rows, talk)
    plan = plan_rows(rows, quality={})
    with Ledger(Settings().database_url) as ledger:
        found = ledger.read(find_dataset, plan.spec.name, plan.provider)
        assert found is not None
        began, before, done, peak = time.monotonic(), _cpu(), Event(), [0.0]
        watch = Thread(target=_watch, args=(done, peak))
        watch.start()
        score_dataset(ledger, plan, int(found.id))
        seconds, cpu = time.monotonic() - began, _cpu() - before
        done.set()
        watch.join()
        return {
            "seconds": seconds,
            "cpu": cpu,
            "peak_mb": peak[0],
            "accepted": len(read_status(ledger, plan, int(found.id)).accepted),
        }


def _cpu() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _watch(done: Event, peak: list[float]) -> None:
    me = psutil.Process()
    while not done.wait(0.5):
        sizes = [one.memory_info().rss for one in (me, *me.children(recursive=True)) if one.is_running()]
        peak[0] = max(peak[0], sum(sizes) / 2**20)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["score", rows]:
            print(json.dumps(score(int(rows))))
        case _:
            sys.exit(0 if main() else 1)
