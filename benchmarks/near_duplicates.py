"""What near-duplicates cost: 100,000 conversations signed and compared, and 300 on top of them: `python -m benchmarks near_duplicates`."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from random import Random
from typing import Any

from benchmarks.measuring import in_child, usage, verdict

HELD, MORE, PLANTED_EVERY = 100_000, 300, 100
SIGNED_MS_CEILING, MORE_SECONDS_CEILING, MB_CEILING = 0.15, 10, 1_000

_AT_ONCE = 2_000


def main() -> bool:
    """Measure, print, and say whether every number is met."""
    print(f"{HELD + MORE:,} simulated conversations are written first, which takes some minutes …", flush=True)
    found = in_child("benchmarks.near_duplicates", HELD, MORE)
    print(
        f"{found['held']:,} signed and compared: {found['seconds']:.1f} s, peak {found['held_mb']:.0f} MB, {found['pairs']:,} pairs"
    )
    print(f"{MORE} on top: {found['more_seconds']:.2f} s, peak {found['peak_mb']:.0f} MB")
    print(f"planted near-copies found: {found['found']:,} of {found['planted']:,}; dropped beside them: {found['natural']:,}")
    return all(
        [
            verdict(
                f"CPU to sign a conversation  {found['sign_ms']:.3f} ms", found["sign_ms"] <= SIGNED_MS_CEILING, "at most 0.15"
            ),
            verdict(f"{MORE} on top  {found['more_seconds']:.1f} s", found["more_seconds"] <= MORE_SECONDS_CEILING, "at most 10"),
            verdict(f"peak memory  {found['peak_mb']:.0f} MB", found["peak_mb"] <= MB_CEILING, "at most 1,000"),
        ]
    )


def fill(held: int, more: int) -> None:
    """Write a ledger of so many simulated answers; every hundredth of them repeats an earlier one, but for some words."""
    from sqlalchemy import Connection, insert

    from convoforge.ledger import Ledger
    from convoforge.ledger.answers import write_conversation
    from convoforge.ledger.runs import ensure_dataset
    from convoforge.ledger.tables import answers, requests
    from convoforge.models import Conversation, Turn
    from convoforge.planning.plan import make_plan
    from convoforge.planning.spec import load_spec
    from convoforge.planning.templates import Library
    from convoforge.settings import ROOT, Settings
    from convoforge.simulator import dialogue

    configs = ROOT / "configs"
    plan = make_plan(load_spec("financial-advice", configs), Library.at(configs), "simulator")
    prompts = [plan.prompt(cell, 0).user for cell in plan.cells]
    rng, now = Random(1), datetime.now(UTC)
    kept: list[tuple[Turn, ...]] = []

    def write(number: int) -> tuple[Turn, ...]:
        if number % PLANTED_EVERY == PLANTED_EVERY - 1:
            return tuple(Turn(one.role, _change(one.content, rng)) for one in kept[-1])
        turns = dialogue.write_conversation(prompts[number % len(prompts)], number)
        made = tuple(Turn(one["role"], one["content"]) for one in turns)
        kept[:] = [made] if number % PLANTED_EVERY == 0 or not kept else kept
        return made

    def store(connection: Connection, asked: list[dict[str, Any]], answered: list[dict[str, Any]]) -> None:
        connection.execute(insert(requests), asked)
        connection.execute(insert(answers), answered)

    with Ledger(Settings().database_url) as ledger:
        dataset = ledger.write(ensure_dataset, "bench", "simulator", now)
        axes = dict.fromkeys(("persona", "emotion", "topic", "tier", "template"), "x")
        for start in range(0, held + more, _AT_ONCE):
            asked, answered = [], []
            for number in range(start, min(start + _AT_ONCE, held + more)):
                cell = f"{rng.getrandbits(128):032x}"
                ids = {"id": number + 1, "dataset_id": dataset, "draw_key": f"{cell}/0", "cell": cell, "draw": 0}
                # the last ones are held as if they had come later
                state = {"state": "held", "answer": 1} if number < held else {"state": "pending", "answer": None}
                asked.append({**ids, **axes, **state})
                about = {
                    "request_id": number + 1,
                    "attempt": 1,
                    "conversation_id": f"{number}",
                    "fingerprint": "5" * 64,
                    "kind": "ok",
                }
                rest = {"template_version": "1", "temperature_applied": False, "generated_at": now}
                answered.append({**about, **rest, "turns": write_conversation(Conversation(write(number)))})
            ledger.write(store, asked, answered)


def _change(text: str, rng: Random) -> str:
    """The text with one word in thirty replaced."""
    return " ".join("otherwise" if rng.random() < 1 / 30 else word for word in text.split())


def measure(held: int, more: int) -> dict[str, float]:
    """Sign and compare a ledger that another process has written."""
    import subprocess

    from sqlalchemy import func, select, update

    from convoforge.dataset.near_duplicates import sign_conversations
    from convoforge.ledger import Ledger
    from convoforge.ledger.signatures import read_unsigned
    from convoforge.ledger.tables import near_pairs, requests
    from convoforge.scoring.similarity import sign
    from convoforge.settings import Settings

    subprocess.run([sys.executable, "-m", "benchmarks.near_duplicates", "fill", str(held), str(more)], check=True)
    with Ledger(Settings().database_url) as ledger:
        texts = [one[-1] for one in ledger.read(read_unsigned, range(1, 2_001))]
        began = time.process_time()
        sign(texts)
        sign_ms = (time.process_time() - began) / len(texts) * 1e3
        began = time.perf_counter()
        sign_conversations(ledger, [1], "simulator")
        seconds, held_mb = time.perf_counter() - began, usage()["peak_mb"]
        ledger.write(
            lambda c: c.execute(update(requests).where(requests.c.answer.is_(None)).values(state="held", answer=1)) and None
        )
        began = time.perf_counter()
        if sign_conversations(ledger, [1], "simulator") != more:
            raise SystemExit("others were signed than those on top")
        more_seconds = time.perf_counter() - began
        pairs = ledger.read(lambda c: c.execute(select(near_pairs).where(near_pairs.c.similarity >= 0.55)).all())
        every = ledger.read(lambda c: c.execute(select(func.count()).select_from(near_pairs)).scalar_one())
    planted = (held + more) // PLANTED_EVERY
    copies = [one for one in pairs if max(one.request_id, one.other_id) % PLANTED_EVERY == 0]
    return {
        "held": held,
        "seconds": seconds,
        "held_mb": held_mb,
        "more_seconds": more_seconds,
        "sign_ms": sign_ms,
        "pairs": every,
        "planted": planted,
        "found": len(copies),
        "natural": len(pairs) - len(copies),
        **usage(),
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fill", held, more]:
            fill(int(held), int(more))
        case [held, more]:
            print(json.dumps(measure(int(held), int(more))))
        case _:
            sys.exit(0 if main() else 1)
