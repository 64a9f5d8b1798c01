"""How varied the conversations of a version are, over all and for each value of an axis: measured on a sample that its rows decide.

Shares of what is new depend on how much is looked at: of ten thousand conversations few word pairs are new. So words and bytes are
counted in groups of `GROUP` conversations drawn at random, and the groups' mean is taken: versions and values of any size compare.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from statistics import mean, quantiles
from sys import intern
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from pydantic import ConfigDict

from convoforge.models import Frozen
from convoforge.planning.spec import AXES
from convoforge.scoring.text import UNSPACED, split_words

GROUP = 20
"""Conversations in a group: most values of an axis have as many, and one draw of them tells much."""

_MAX_GROUPS, _MAX_GROUPS_OF_VALUE = 20, 3
_MAX_WORDS = 2_000
"""Maximum number of words of a conversation that are counted: of a longer one the beginning."""

_MAX_SAMPLE, _MAX_SAMPLE_TOKENS = 5_000, 6_000_000
"""Maximum number of conversations that are looked at, and about how many tokens they may have together."""

_MAX_ROW_GROUPS = 200
"""Maximum number of row groups of which rows are taken, as each is read as a whole: rows lie in an order that is even over the axes."""

_OPENING_WORDS = 4
_COLUMNS = ("conversation_id", "messages", *AXES, "score", "n_tokens", "flags")
_UNSPACED = re.compile(f"({UNSPACED})")


class Diversity(Frozen):
    """How varied `conversations` are, of which so many were looked at. `distinct`: the share of words, word pairs and word triples of a
    group that are its first of their kind. `compression`: how many times smaller zlib makes a group's text: less is more varied.
    `said_before`: the share of turns that an earlier conversation of the sample has word by word. `opening`: the share of conversations
    that begin with the commonest words. `tokens`: the 10th, 50th and 90th percentile of their length."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # as the manifest's, which keeps it for the next version

    conversations: int
    distinct: tuple[float, float, float]
    compression: float
    said_before: float
    opening: float
    tokens: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Variety:
    """`axes`: axis → value → its diversity. `openings`: the commonest first words, and how many of the sample begin so. `sample`: the
    rows that were read, in the version's order, of `rows`."""

    overall: Diversity
    axes: Mapping[str, Mapping[str, Diversity]]
    openings: Sequence[tuple[str, int]]
    sample: Sequence[Mapping[str, Any]]
    rows: int


@dataclass(frozen=True, slots=True)
class _Read:
    """A conversation of the sample as it is measured: the words and bytes of its turns, its first words, how many of its turns were said
    before."""

    row: Mapping[str, Any]
    words: Sequence[Sequence[str]]
    text: bytes
    opening: str
    repeated: int


def measure_variety(paths: Sequence[Path], seed: int, *, tokens: int) -> Variety:
    """The variety of the rows in some files, of so many tokens each. The same arguments give the same figures."""
    size = max(GROUP, min(_MAX_SAMPLE, _MAX_SAMPLE_TOKENS // tokens))
    rows, total = _read_sample(paths, size, random.Random(seed))
    sample = _read_all(rows)
    order = random.Random(seed).sample(sample, len(sample))
    by_value: dict[str, dict[str, list[_Read]]] = {axis: defaultdict(list) for axis in AXES}
    for one in order:
        for axis, values in by_value.items():
            values[one.row[axis]].append(one)
    return Variety(
        overall=_measure(order, _MAX_GROUPS),
        axes={
            axis: {value: _measure(some, _MAX_GROUPS_OF_VALUE) for value, some in sorted(values.items())}
            for axis, values in by_value.items()
        },
        openings=Counter(one.opening for one in sample).most_common(10),
        sample=rows,
        rows=total,
    )


def _read_sample(paths: Sequence[Path], wanted: int, chance: random.Random) -> tuple[list[dict[str, Any]], int]:
    """Rows drawn evenly, in their order, and how many there are."""
    files = [pq.ParquetFile(path) for path in paths]
    groups = [(file, number) for file in files for number in range(file.num_row_groups)]
    total = sum(file.metadata.num_rows for file in files)
    step = max(1, len(groups) / _MAX_ROW_GROUPS)
    read = [groups[int(at * step)] for at in range(min(len(groups), _MAX_ROW_GROUPS))]
    sizes = [file.metadata.row_group(number).num_rows for file, number in read]
    share = min(1.0, wanted / sum(sizes))
    rows: list[dict[str, Any]] = []
    for (file, number), size in zip(read, sizes, strict=True):
        places = sorted(chance.sample(range(size), min(size, round(share * size) or 1)))
        rows += file.read_row_group(number, columns=list(_COLUMNS), use_threads=False).take(pa.array(places)).to_pylist()
    return rows, total


def _read_all(rows: Iterable[Mapping[str, Any]]) -> list[_Read]:
    said: set[str] = set()
    found = []
    for row in rows:
        turns = [turn["content"] for turn in row["messages"] if turn["role"] != "system"]
        # each word once in memory: of 5,000 conversations that is a tenth
        words = [[*map(intern, split_words(turn if turn.isascii() else _UNSPACED.sub(r" \1 ", turn)))] for turn in turns]
        plain = [" ".join(some) for some in words]
        opening = " ".join(words[0][:_OPENING_WORDS])
        counted = [
            some[: max(0, _MAX_WORDS - before)]
            for some, before in zip(words, accumulate(map(len, words), initial=0), strict=False)
        ]
        text = " ".join(chain.from_iterable(counted)).encode()
        found.append(_Read(row, counted, text, opening, sum(turn in said for turn in plain)))
        said.update(plain)
    return found


def _measure(some: Sequence[_Read], max_groups: int) -> Diversity:
    """Of the whole groups among `some`; of all of them where they make none."""
    groups = [some[start : start + GROUP] for start in range(0, len(some) - len(some) % GROUP, GROUP)][:max_groups] or [some]
    lengths = [one.row["n_tokens"] for one in some]
    tokens = quantiles(lengths, n=10, method="inclusive") if len(lengths) > 1 else lengths * 9
    commonest = Counter(one.opening for one in some).most_common(1)[0][1]

    def average(measure: Callable[[Sequence[_Read]], float]) -> float:
        return round(mean(map(measure, groups)), 4)

    return Diversity(
        conversations=len(some),
        distinct=(
            average(lambda group: _distinct(group, 1)),
            average(lambda group: _distinct(group, 2)),
            average(lambda group: _distinct(group, 3)),
        ),
        compression=average(_compression),
        said_before=round(sum(one.repeated for one in some) / sum(len(one.words) for one in some), 4),
        opening=round(commonest / len(some), 4),
        tokens=(round(tokens[0]), round(tokens[4]), round(tokens[8])),
    )


def _distinct(group: Sequence[_Read], size: int) -> float:
    found = [*chain.from_iterable(zip(*(words[at:] for at in range(size)), strict=False) for one in group for words in one.words)]
    return len(set(found)) / max(1, len(found))


def _compression(group: Sequence[_Read]) -> float:
    text = b"\n".join(one.text for one in group)
    return len(text) / len(zlib.compress(text))
