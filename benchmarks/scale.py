"""Does it stay the same when it grows? Builds of 1,000 to 100,000 conversations in one run each, and a million rows published."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from benchmarks.measuring import in_child, servers, spec, usage, verdict
from benchmarks.pipeline import measure
from convoforge.models import Conversation, Turn

COUNTS = (1_000, 2_000, 10_000, 100_000)
MEMORY_CEILING, PREFECT_MB_CEILING, LAST_TENTH_FLOOR = 1.3, 50, 0.9

ROWS, EACH = 1_000_000, 10
PUBLISH_MB_CEILING = 1_000

_SAID = (
    "I keep looking at what I put aside for question {n}, and I cannot tell whether waiting is patience or fear. The figures from last "
    "spring said one thing, the letter on my desk says another, and my sister, who means well, says a third."
)
_AT_ONCE = 2_000


def builds() -> bool:
    """Memory, time and Prefect's database over the size of a build."""
    found: dict[int, dict[str, float]] = {}
    with servers() as using:
        for count in COUNTS:
            before = using.prefect_bytes
            found[count] = measure("pipeline", count, using)
            found[count]["prefect_mb"] = (using.prefect_bytes - before) / 1e6
            print(
                f"{'':18}first tenth {found[count]['first_tenth']:4.0f}/s, last tenth {found[count]['last_tenth']:4.0f}/s, "
                f"Prefect's database {found[count]['prefect_mb']:+.1f} MB",
                flush=True,
            )
    large = found[COUNTS[-1]]
    memory = large["peak_mb"] / found[2_000]["peak_mb"]
    last = large["last_tenth"] / large["first_tenth"]
    size = f"{COUNTS[-1]:,}"
    verdicts = [
        verdict(f"peak memory, {size}/2,000  {memory:.2f} ×", memory <= MEMORY_CEILING, f"at most {MEMORY_CEILING}"),
        verdict(
            f"Prefect's database after {size}  {large['prefect_mb']:+.1f} MB",
            large["prefect_mb"] <= PREFECT_MB_CEILING,
            f"at most {PREFECT_MB_CEILING}",
        ),
        verdict(
            f"last tenth of {size} against the first  {last:.2f} ×", last >= LAST_TENTH_FLOOR, f"at least {LAST_TENTH_FLOOR}"
        ),
    ]
    return all(verdicts)


def publishing() -> bool:
    """A million rows as one version."""
    print(f"a ledger of {ROWS:,} answers is written first, which takes a few minutes …", flush=True)
    found = in_child("benchmarks.scale", "publish", ROWS)
    print(f"publish   {ROWS:9,} rows  {found['seconds']:6.1f} s  CPU {found['cpu']:6.1f} s  peak {found['peak_mb']:4.0f} MB")
    peak = found["peak_mb"]
    return verdict(f"peak memory of publishing  {peak:.0f} MB", peak <= PUBLISH_MB_CEILING, f"at most {PUBLISH_MB_CEILING}")


def publish(rows: int) -> dict[str, float]:
    """Publish a ledger of so many answers, which another process has written."""
    from convoforge.dataset.release import publish_dataset
    from convoforge.ledger import Ledger
    from convoforge.ledger.runs import ensure_dataset
    from convoforge.settings import Settings

    subprocess.run([sys.executable, "-m", "benchmarks.scale", "fill", str(rows)], check=True)
    plan, settings = plan_rows(rows), Settings()
    begun = time.perf_counter()
    with Ledger(settings.database_url) as ledger:
        dataset = ledger.write(ensure_dataset, plan.spec.name, plan.provider, datetime.now(UTC))
        published, _ = publish_dataset(ledger, plan, dataset, settings.data_dir, stale=0)
    if published.rows != rows:
        raise SystemExit(f"{published.rows} rows were published, not {rows}")
    return {"seconds": time.perf_counter() - begun, **usage()}


def repeat(number: int) -> Conversation:
    """The same paragraph twelve times: as long as a real conversation, and made in no time."""
    said = _SAID.format(n=number)
    return Conversation(tuple(Turn("assistant" if n % 2 else "user", f"{said} ({n})") for n in range(12)))


def fill(rows: int, talk: Callable[[int], Conversation] = repeat) -> None:
    """Write a ledger with an accepted answer for every draw of a plan, by the functions that a build writes with."""
    from convoforge.ledger import Ledger
    from convoforge.ledger.answers import write_conversation
    from convoforge.ledger.attempts import AnswerRow, Completion, Intent, finish_attempts, start_attempts
    from convoforge.ledger.requests import read_draws, register_draws
    from convoforge.ledger.runs import begin_run, ensure_dataset, keep_spec
    from convoforge.models import Usage
    from convoforge.planning.keys import conversation_id, draw_key
    from convoforge.pricing import cost_pico
    from convoforge.scoring import Rubric, ScoringContext, content_hash
    from convoforge.settings import Settings

    plan, now = plan_rows(rows), datetime.now(UTC)
    rubric = Rubric.of(plan.spec, plan.library)
    use = Usage(input_tokens=900, output_tokens=1_100)
    with Ledger(Settings().database_url) as ledger:
        dataset = ledger.write(ensure_dataset, plan.spec.name, plan.provider, now)
        ledger.write(keep_spec, dataset, plan.spec)
        ledger.write(begin_run, "0" * 32, dataset, plan.spec, "bench", None, now)
        draws = ((cell, draw) for cell in plan.cells for draw in range(plan.spec.per_cell))
        for some in _chunks(draws):
            ledger.write(register_draws, dataset, some)

        def ended(draw: Any) -> Completion:
            conversation = talk(draw.request_id)
            fingerprint = f"{draw.request_id:064x}"
            intent = Intent(
                request_id=draw.request_id,
                attempt=1,
                run_id="0" * 32,
                dataset_id=dataset,
                owner="bench",
                provider=plan.provider,
                model=plan.spec.model,
                template="advice",
                api_key="3f2a9c",
                price=plan.price.text,
                started_at=now,
                reserve_pico=0,
                limits={},
            )
            answer = AnswerRow(
                conversation_id=conversation_id(draw_key(draw.cell, draw.draw), fingerprint),
                fingerprint=fingerprint,
                kind="ok",
                turns=write_conversation(conversation),
                system=None,
                raw_text=None,
                reason=None,
                template_version="1/bench",
                temperature=None,
                temperature_applied=False,
                scored=rubric.score(conversation, ScoringContext()),
                content_hash=content_hash(conversation),
            )
            spent = cost_pico(use, plan.price)
            return Completion(
                intent,
                status="succeeded",
                billing="billed",
                finished_at=now,
                latency_ms=200,
                usage=use,
                cost_pico=spent,
                answer=answer,
            )

        for some in _chunks(iter(ledger.read(read_draws, dataset))):
            done = [ended(draw) for draw in some]
            ledger.write(start_attempts, [one.intent for one in done])
            ledger.write(finish_attempts, done)


# conversations that are all alike but for their numbers
UNFILTERED: Mapping[str, Any] = {"filters": [], "near_duplicates": False}


def plan_rows(rows: int, quality: Mapping[str, Any] = UNFILTERED) -> Any:
    """The plan of a dataset of so many rows, with a spec's `quality`."""
    from convoforge.planning.plan import make_plan
    from convoforge.planning.spec import DatasetSpec
    from convoforge.planning.templates import Library
    from convoforge.settings import ROOT

    wanted = spec(rows // EACH) | {"name": "bench", "per_cell": EACH, "quality": quality}
    return make_plan(DatasetSpec.model_validate(wanted), Library.at(ROOT / "configs"), "simulator")


def _chunks(items: Iterator[Any]) -> Iterator[list[Any]]:
    while some := list(islice(items, _AT_ONCE)):
        yield some


def main() -> bool:
    """Measure, print, and say whether every number is met."""
    return all([builds(), publishing()])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fill", rows]:
            fill(int(rows))
        case ["publish", rows]:
            print(json.dumps(publish(int(rows))))
        case ["publishing"]:
            sys.exit(0 if publishing() else 1)
        case _:
            sys.exit(0 if main() else 1)
