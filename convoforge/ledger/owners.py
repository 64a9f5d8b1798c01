"""Owners: processes that renew a lease and own claims and reservations. A dead owner's claims and reservations are released."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import ColumnElement, Connection, and_, func, insert, select, update

from convoforge.ledger.budgets import find_accounts, list_budget_scopes, read_budgets, write_budgets
from convoforge.ledger.tables import generation_logs, owners, requests, runs

LEASE = timedelta(seconds=90)
RENEW_SECONDS = 20.0

UNEXPECTED_END = "the process ended unexpectedly: killed, or the machine went down. The next build goes on from here"
"""Message of a run whose process is gone. `convoforge-dead-runs` in deployments/automations.yaml has it, too."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, identified so that others can check whether it lives: host and boot id, pid, start (seconds since 1970), and
    run."""

    id: str
    host: str
    pid: int
    started: float
    run_id: str | None = None


@cache
def identify_host() -> str:
    """Name and boot id of this machine: a pid is only meaningful on one machine until it restarts."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()}/{boot.read_text().strip() if boot.exists() else int(psutil.boot_time())}"


def make_owner(run_id: str | None = None) -> Owner:
    """Make an owner for this process and a run."""
    return Owner(uuid.uuid4().hex, identify_host(), os.getpid(), psutil.Process().create_time(), run_id)


def register(connection: Connection, owner: Owner, now: datetime) -> None:
    """Register an owner with a new lease. First releases dead owners: if nothing is claimed, no other call does it."""
    release(connection, list_dead_owners(connection, now), now)
    connection.execute(insert(owners), {**asdict(owner), "lease_until": now + LEASE})


def renew(connection: Connection, owner_id: str, now: datetime) -> None:
    """Extend an owner's lease."""
    connection.execute(update(owners).where(owners.c.id == owner_id).values(lease_until=now + LEASE))


def retire(connection: Connection, owner_id: str, now: datetime) -> None:
    """Release everything that an owner still holds, and delete it."""
    release(connection, [owner_id], now)
    connection.execute(owners.delete().where(owners.c.id == owner_id))


def list_dead_owners(connection: Connection, now: datetime, *, but: str | None = None) -> list[str]:
    """Owners, except `but`, whose lease has expired, or whose process on this machine is gone."""
    rows = connection.execute(select(owners)).all()
    return [row.id for row in rows if row.id != but and (row.lease_until < now or _gone(row.host, row.pid, row.started))]


def end_dead_runs(connection: Connection, now: datetime) -> None:
    """End the runs whose process is gone, and release what it held."""
    release(connection, list_dead_owners(connection, now), now)
    nobody = runs.c.owner.not_in(select(owners.c.id))  # one that could not close its run, on a full disk for instance
    connection.execute(update(runs).where(nobody, runs.c.state.in_(("running", "stopping"))).values(_ended(now)))


def list_living_owners(connection: Connection, ids: Sequence[str], now: datetime) -> set[str]:
    """Those of `ids` that are alive."""
    return _list_living(connection, owners.c.id.in_(ids), now)


def list_other_owners(connection: Connection, run_id: str, owner_id: str, now: datetime) -> set[str]:
    """The living owners that work on a run, except `owner_id`."""
    return _list_living(connection, and_(owners.c.run_id == run_id, owners.c.id != owner_id), now)


def _list_living(connection: Connection, which: ColumnElement[bool], now: datetime) -> set[str]:
    rows = connection.execute(select(owners).where(which, owners.c.lease_until >= now)).all()
    return {row.id for row in rows if not _gone(row.host, row.pid, row.started)}


def release(connection: Connection, ids: Sequence[str], now: datetime) -> None:
    """Release the claims and reservations of dead owners, and end their runs. Their open calls may have been billed, and are
    recorded as lost."""
    if not ids:
        return
    connection.execute(
        update(requests).where(requests.c.owner.in_(ids), requests.c.state == "claimed").values(state="pending", owner=None)
    )
    open_ = (generation_logs.c.owner.in_(ids), generation_logs.c.status == "open")
    lost = connection.execute(
        select(
            generation_logs.c.run_id,
            generation_logs.c.dataset_id,
            generation_logs.c.started_at,
            func.sum(generation_logs.c.reserved_pico).label("pico"),
        )
        .where(*open_)
        .group_by(generation_logs.c.run_id, generation_logs.c.dataset_id, generation_logs.c.started_at)
    ).all()
    accounts = find_accounts(connection, {row.run_id for row in lost})
    scopes = [list_budget_scopes(row.run_id, row.dataset_id, row.started_at, accounts.get(row.run_id)) for row in lost]
    budgets = read_budgets(connection, {scope for listed in scopes for scope in listed})
    for row, listed in zip(lost, scopes, strict=True):
        for scope in listed:
            budgets[scope]["reserved_pico"] -= int(row.pico)
            budgets[scope]["maybe_pico"] += int(row.pico)
    write_budgets(connection, budgets)
    connection.execute(
        update(generation_logs)
        .where(*open_)
        .values(
            status="lost",
            finished_at=now,
            reserved_pico=0,
            maybe_pico=generation_logs.c.reserved_pico,
            error="the process ended during the call; it may have been billed",
        )
    )
    connection.execute(update(runs).where(runs.c.owner.in_(ids), runs.c.state.in_(("running", "stopping"))).values(_ended(now)))
    connection.execute(owners.delete().where(owners.c.id.in_(ids)))


def _ended(now: datetime) -> dict[str, Any]:
    return {"state": "failed", "finished_at": now, "message": UNEXPECTED_END}


def _gone(host: str, pid: int, started: float) -> bool:
    if host != identify_host():
        return False
    try:
        return bool(abs(psutil.Process(pid).create_time() - started) > 2)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
