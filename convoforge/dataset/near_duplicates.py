"""Near-duplicates in the ledger: signatures for what has none, and what the acceptance rule has to know of pairs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from sqlalchemy import Connection, select

from convoforge.dataset.acceptance import NO_NEIGHBORS, Neighbor, Neighbors
from convoforge.errors import ConfigError, nearest
from convoforge.files import find_file
from convoforge.ledger import Ledger
from convoforge.ledger.runs import list_datasets
from convoforge.ledger.signatures import (
    TurnsKey,
    list_unsigned,
    read_near_pairs,
    read_signatures,
    read_unsigned,
    write_signatures,
)
from convoforge.ledger.tables import datasets
from convoforge.models import Provider, Status
from convoforge.planning.quality import NearDuplicates
from convoforge.planning.spec import DatasetSpec
from convoforge.scoring.similarity import Signed, SimilarityIndex, sign

_READ_AT_ONCE = 1_000
_COMPARED_AT_ONCE = 20_000
"""Number of new signatures in memory, some 60 MB; held ones pass by."""


def check_compared(ledger: Ledger, spec: DatasetSpec, config_dir: Path) -> None:
    """Raises `ConfigError` for a named dataset that neither the ledger nor a spec knows: nothing would be compared with it. One that is
    yet to be built, or that is only simulated, is known."""
    named = spec.quality.near_duplicates.datasets if spec.quality.near_duplicates else ()
    known = {name for name, _ in ledger.read(list_datasets)} if named else set()
    for name in named:
        if name not in known and not find_file(config_dir / "datasets" / f"{name}.yaml"):
            raise ConfigError(f"quality.near_duplicates.datasets: unknown dataset '{name}'{nearest(name, known - {spec.name})}")


def list_compared(connection: Connection, dataset: int, rule: NearDuplicates) -> dict[int, str]:
    """A dataset and those that its spec names, of the same provider: id and name."""
    own = select(datasets.c.provider).where(datasets.c.id == dataset).scalar_subquery()
    named = select(datasets.c.id, datasets.c.name).where(datasets.c.provider == own, datasets.c.name.in_(rule.datasets))
    return {dataset: "", **{row.id: row.name for row in connection.execute(named) if row.id != dataset}}


def sign_conversations(ledger: Ledger, among: Collection[int], provider: Provider) -> int:
    """Sign what has no signature of today's version in some datasets, and compare it with everything of the provider that has one, and
    with each other: then a spec may name other datasets or thresholds without reading a text again. Returns how many were signed."""
    ids = ledger.read(list_unsigned, among)
    for start in range(0, len(ids), _COMPARED_AT_ONCE):
        signed: list[tuple[TurnsKey, Signed]] = []
        for part in range(start, min(start + _COMPARED_AT_ONCE, len(ids)), _READ_AT_ONCE):
            rows = ledger.read(read_unsigned, ids[part : min(part + _READ_AT_ONCE, start + _COMPARED_AT_ONCE)])
            made = sign(conversation for *_, conversation in rows)
            signed += [(turns, Signed(request, order, one)) for (request, turns, order, _), one in zip(rows, made, strict=True)]
        index, seen = SimilarityIndex([one for _, one in signed]), 0
        while True:
            seen = ledger.read(_compare, index, provider, seen)
            if ledger.write(write_signatures, signed, [*index.pairs()], provider, seen):
                break
    return len(ids)


def _compare(connection: Connection, index: SimilarityIndex, provider: Provider, after: int) -> int:
    """Compare new signatures with those whose id is above `after`. Returns the highest id."""
    for number, held in read_signatures(connection, provider, after):
        index.compare(held)
        after = number
    return after


def read_rule(spec: str | None) -> NearDuplicates | None:
    """What a kept spec says of near-duplicates."""
    raw = json.loads(spec).get("quality", {}).get("near_duplicates") if spec else None
    return NearDuplicates.model_validate(raw) if raw else None


def read_neighbors(connection: Connection, dataset: int, rule: NearDuplicates | None, *, with_unknown: bool = False) -> Neighbors:
    """Which conversations of a dataset are near-duplicates of which, in it or published elsewhere; `with_unknown`, also what has not been
    compared yet."""
    if rule is None:
        return NO_NEIGHBORS
    names = list_compared(connection, dataset, rule)
    of: dict[int, list[Neighbor]] = defaultdict(list)
    for pair in read_near_pairs(connection, dataset, rule.threshold):
        if pair.dataset == dataset or (pair.published and pair.dataset in names):
            where = f"dataset '{names[pair.dataset]}'" if pair.dataset != dataset else "an earlier version"
            label = f"{pair.conversation_id} of {where}" if pair.published else ""
            of[pair.request_id].append(Neighbor(pair.other_id, pair.similarity, label))
    unknown = frozenset(list_unsigned(connection, [dataset])) if with_unknown else frozenset[int]()
    return Neighbors(of, unknown, Status.DROPPED if rule.action == "drop" else Status.NEEDS_REVISION)
