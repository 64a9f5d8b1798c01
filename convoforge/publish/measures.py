"""What card and report tell in figures, read from the files as they were written; no conversation is read again."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from decimal import Decimal
from itertools import accumulate, combinations
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from convoforge.planning.spec import AXES
from convoforge.publish.rows import GROUP_KEYS

_COVERED = (*GROUP_KEYS, "model")
_POINTS = tuple(f"scorer_results.list.element.{name}" for name in ("name", "points", "maximum"))

LENGTH_STEP = 16
"""Tokens."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a count of tokens or turns is spread over conversations."""

    minimum: int
    median: int
    p95: int
    p99: int
    maximum: int

    @property
    def figures(self) -> tuple[str, ...]:
        """Its numbers as a table shows them, in their order."""
        return tuple(f"{value:,}" for value in astuple(self))


@dataclass(frozen=True, slots=True)
class Measures:
    """`groups`: groups in each split. `coverage`: column → value → rows; `lacking`: split → column → values that only other splits hold.
    `pairs`: two axes → a value of each → rows. `points`: (scorer, points, maximum) → rows. `lengths`: tokens, in steps of `LENGTH_STEP`
    → rows. `cost_usd` is of the accepted rows, `spent_usd` of the others too. `statuses` count the rows that were not accepted.
    """

    groups: Mapping[str, int]
    coverage: Mapping[str, Counter[str]]
    lacking: Mapping[str, Mapping[str, Sequence[str]]]
    pairs: Mapping[tuple[str, str], Counter[tuple[str, str]]]
    points: Counter[tuple[str, int | None, int | None]]
    flags: Counter[tuple[str]]
    lengths: Counter[int]
    scores: Counter[int | None]
    turns: Spread
    tokens: Spread
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    spent_usd: Decimal
    statuses: Counter[str]


def measure(data: Mapping[str, Sequence[Path]], revise: Path | None) -> Measures:
    """The figures of a version: `data` are the files of each split, `revise` the one with what was not accepted."""
    paths = [path for some in data.values() for path in some]
    beside = [revise] if revise else []
    cost = _sum(paths, "cost_usd")
    coverage = {column: {split: _counts(_read(some, column)) for split, some in data.items()} for column in _COVERED}
    totals = {column: sum(counts.values(), Counter[str]()) for column, counts in coverage.items()}
    return Measures(
        groups={split: pc.count_distinct(_read(some, "split_group")).as_py() for split, some in data.items()},
        coverage=totals,
        lacking={
            split: {
                column: missing
                for column in GROUP_KEYS
                if (missing := sorted(totals[column].keys() - coverage[column][split].keys()))
            }
            for split in data
        },
        pairs={axes: _count_together(paths, axes) for axes in combinations(AXES, 2)},
        points=_count_together(paths, _POINTS),
        flags=_count_together(paths, ["flags"]),
        lengths=_counts(pc.divide(_read(paths, "n_tokens"), LENGTH_STEP)),
        scores=_counts(_read(paths, "score")),
        turns=_spread(_read(paths, "n_turns")),
        tokens=_spread(_read(paths, "n_tokens")),
        input_tokens=_sum(paths, "input_tokens"),
        output_tokens=_sum(paths, "output_tokens"),
        cost_usd=cost,
        spent_usd=cost + (_sum(beside, "cost_usd") if beside else 0),
        statuses=_counts(_read(beside, "status")) if beside else Counter(),
    )


def _read(paths: Sequence[Path], column: str) -> Any:
    """One column, of all files: never a second one in memory."""
    return pa.chunked_array(
        [chunk for path in paths for chunk in pq.ParquetFile(path).read(columns=[column], use_threads=False)[column].chunks]
    )


def _sum(paths: Sequence[Path], column: str) -> Any:
    return pc.sum(_read(paths, column)).as_py()


def _counts(column: Any) -> Counter[Any]:
    return Counter({pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist()})


def _count_together(paths: Sequence[Path], columns: Sequence[str]) -> Counter[Any]:
    """How often values stand together: in a row, or in an element where the columns are parts of one list. One batch in memory."""
    found: Counter[Any] = Counter()
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(65_536, columns=list(columns), use_threads=False):
            arrays = batch.columns
            if pa.types.is_list(arrays[0].type):
                flat = pc.list_flatten(arrays[0])
                arrays = flat.flatten() if pa.types.is_struct(flat.type) else [flat]
            names = [str(number) for number in range(len(arrays))]
            counts = pa.Table.from_arrays(arrays, names).group_by(names, use_threads=False).aggregate([([], "count_all")])
            for *values, count in zip(*(counts[name].to_pylist() for name in (*names, "count_all")), strict=True):
                found[tuple(values)] += count
    return found


def _spread(column: Any) -> Spread:
    points = pc.quantile(column, q=[0, 0.5, 0.95, 0.99, 1], interpolation="higher")
    return Spread(*(int(point) for point in points.to_pylist()))


def spread_counts(counts: Counter[int]) -> Spread:
    """How numbers are spread, of which each was met as often as `counts` says. Raises ValueError where there is none."""
    ranked = sorted(counts.items())
    ends = [*accumulate(times for _, times in ranked)]
    return Spread(*(ranked[bisect_left(ends, ceil(share * (ends[-1] - 1)) + 1)][0] for share in (0, 0.5, 0.95, 0.99, 1)))
