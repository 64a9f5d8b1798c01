"""Permits to send, counted in the ledger: the rate limit for processes that share a ledger, but no Prefect server.

A permit counts from the transaction that grants it until its window has passed, even if its process has ended: a restarted server
still counts the requests of its predecessor. SQLite uses this machine's clock, PostgreSQL the server's.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from convoforge.ledger.connect import upsert
from convoforge.ledger.tables import permits, rate_limits

Amounts = tuple[int, int, int]
"""Requests, input tokens, output tokens."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A process's request for permits from one API key's limit, named `limit`.

    `needs` wait in this order. `capacities` are the maximum amounts of each kind that may count at once (infinite without a
    limit); a permit counts for `seconds`. `pause_seconds` pauses all processes that share the limit. `corrections` are the
    differences between used and granted amounts of earlier permits, by permit id.
    """

    limit: str
    needs: Sequence[Amounts]
    capacities: tuple[float, float, float]
    seconds: float
    pause_seconds: float = 0.0
    corrections: Mapping[int, Amounts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counted:
    """The current use of a limit: seconds until each entry expires, and its amounts, oldest first; seconds left of a pause."""

    entries: Sequence[tuple[float, Amounts]] = ()
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """The answer to an `Ask`: the first `granted` needs may be sent, with the permit of this id; the next one fits in `wait`
    seconds (0: none is left)."""

    permit: int
    granted: int
    wait: float
    counted: Counted


def take_permits(connection: Connection, ask: Ask) -> Grant:
    """Record the corrections and the pause, and grant as many of the needs as fit, in order."""
    paused = _lock(connection, ask.limit, ask.seconds)
    now = _now(connection)
    if ask.pause_seconds > 0:
        paused = max(paused, now + round(ask.pause_seconds * 1e6))
        connection.execute(update(rate_limits).where(rate_limits.c.name == ask.limit).values(paused_until=paused))
    # if a clock that was ahead is set back, its permits must not count for longer than a window
    connection.execute(update(permits).where(permits.c.limit_name == ask.limit, permits.c.at > now).values(at=now))
    for permit, amounts in ask.corrections.items():
        _correct(connection, ask.limit, permit, amounts, now)
    counted = _count(connection, ask.limit, ask.seconds, paused, now)
    granted, wait = fit(ask.needs, counted, ask.capacities, ask.seconds)
    if not granted:
        return Grant(0, 0, wait, counted)
    total = _sum(ask.needs[:granted])
    permit = _insert(connection, ask.limit, total, now)
    return Grant(permit, granted, wait, Counted((*counted.entries, (ask.seconds, total)), counted.pause_seconds))


def read_permits(connection: Connection, limit: str, seconds: float) -> Counted:
    """The current use of a limit with a window of `seconds`."""
    paused = connection.execute(select(rate_limits.c.paused_until).where(rate_limits.c.name == limit)).scalar_one_or_none()
    return _count(connection, limit, seconds, paused or 0, _now(connection))


def fit(needs: Sequence[Amounts], counted: Counted, capacities: tuple[float, float, float], seconds: float) -> tuple[int, float]:
    """Number of `needs`, in order, that fit besides the current use, and seconds until the next one fits (0 if there is none).

    A need larger than the capacity fits if nothing else counts. Pure.
    """
    if not needs or counted.pause_seconds > 0:
        return 0, counted.pause_seconds
    used = list(_sum(amounts for _, amounts in counted.entries))
    granted = 0
    for need in needs:
        if any(
            kind_used + min(amount, capacity) > capacity
            for kind_used, amount, capacity in zip(used, need, capacities, strict=True)
        ):
            break
        used = [kind_used + amount for kind_used, amount in zip(used, need, strict=True)]
        granted += 1
    if granted == len(needs):
        return granted, 0.0
    entries = [*counted.entries, (seconds, _sum(needs[:granted]))]
    return granted, max(
        _wait(min(amount, capacity) - capacity, [(left, amounts[kind]) for left, amounts in entries])
        for kind, (amount, capacity) in enumerate(zip(needs[granted], capacities, strict=True))
    )


def _wait(excess: float, entries: Sequence[tuple[float, int]]) -> float:
    """Seconds until so many entries have expired that `excess` plus the rest of them is at most 0."""
    excess += sum(amount for _, amount in entries)
    wait = 0.0
    for left, amount in entries:
        if excess <= 0:
            break
        excess -= amount
        wait = left
    return wait


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    requests = tokens_in = tokens_out = 0
    for one in amounts:
        requests, tokens_in, tokens_out = requests + one[0], tokens_in + one[1], tokens_out + one[2]
    return requests, tokens_in, tokens_out


def _lock(connection: Connection, limit: str, seconds: float) -> int:
    """Lock a limit until this transaction ends (SQLite has one writer anyway). Returns the end of its pause, in µs since 1970."""
    new = upsert(connection.dialect.name, rate_limits).values(name=limit, window_seconds=seconds, paused_until=0)
    connection.execute(new.on_conflict_do_nothing())
    row: RowMapping = (
        connection.execute(select(rate_limits).where(rate_limits.c.name == limit).with_for_update()).mappings().one()
    )
    if row["window_seconds"] < seconds:
        connection.execute(update(rate_limits).where(rate_limits.c.name == limit).values(window_seconds=seconds))
    return int(row["paused_until"])


def _now(connection: Connection) -> int:
    """Microseconds since 1970."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(select(func.extract("epoch", func.clock_timestamp()) * 1_000_000)).scalar_one())
    return time.time_ns() // 1_000


def _count(connection: Connection, limit: str, seconds: float, paused: int, now: int) -> Counted:
    since = now - round(seconds * 1e6)
    columns = permits.c
    rows = connection.execute(
        select(columns.at, columns.requests, columns.input_tokens, columns.output_tokens)
        .where(columns.limit_name == limit, columns.at > since)
        .order_by(columns.at)
    )
    entries = [((at - since) / 1e6, (requests, tokens_in, tokens_out)) for at, requests, tokens_in, tokens_out in rows]
    return Counted(entries, max(0.0, (paused - now) / 1e6))


def _correct(connection: Connection, limit: str, permit: int, amounts: Amounts, now: int) -> None:
    columns = permits.c
    changed = connection.execute(
        update(permits)
        .where(columns.id == permit, columns.limit_name == limit)
        .values(
            requests=columns.requests + amounts[0],
            input_tokens=columns.input_tokens + amounts[1],
            output_tokens=columns.output_tokens + amounts[2],
        )
    )
    excess = (0, max(0, amounts[1]), max(0, amounts[2]))
    if not changed.rowcount and any(excess):  # the permit has expired: the excess over it counts from now
        _insert(connection, limit, excess, now)


def _insert(connection: Connection, limit: str, amounts: Amounts, now: int) -> int:
    longest = select(rate_limits.c.window_seconds).where(rate_limits.c.name == limit).scalar_subquery()
    connection.execute(delete(permits).where(permits.c.limit_name == limit, permits.c.at <= now - longest * 1_000_000))
    values = {"requests": amounts[0], "input_tokens": amounts[1], "output_tokens": amounts[2]}
    row = connection.execute(insert(permits).values(limit_name=limit, at=now, **values).returning(permits.c.id))
    return int(row.scalar_one())
