"""The report of a version: `report.html`, one file to look at. No script, nothing from elsewhere; what others wrote is escaped.

The charts are plain HTML and SVG of some hundred bytes a bar. A charting library would put megabytes of JavaScript, or of fonts, into
each version, and a browser would have to run it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from math import ceil, log10
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from convoforge.planning.quality import MIN_ALIKE
from convoforge.pricing import dollars
from convoforge.printable import printable
from convoforge.publish.left_out import HeldBack, list_held_back
from convoforge.publish.manifest import Manifest
from convoforge.publish.measures import LENGTH_STEP, Measures
from convoforge.publish.variety import GROUP, Variety, measure_variety

NAME = "report.html"

CONVERSATIONS = 20
MAX_TURNS, MAX_TURN_CHARACTERS = 40, 2_000
"""Maximum length of a conversation in the report; the whole of it is in the data."""

MAX_VALUES = 60
"""Maximum number of values of an axis in a heat map."""

_BARS = 26


@dataclass(frozen=True, slots=True)
class RunCost:
    """What a run was expected to cost, US dollars: low, expected, high, None where nothing was; and what it did until now."""

    run_id: str
    answers: int
    actual: Decimal
    expected: tuple[Decimal, Decimal, Decimal] | None = None


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger adds to a report. `planned`: two axes → a value of each → conversations wanted. `latencies`: tenths of a second →
    answers, without those of message batches and judges. `spent_usd` is all that calls of the dataset have cost, whatever came of them;
    `judged_usd` is the judge's part of it. `alike`: percent that a conversation has in common with its nearest neighbor → conversations,
    of those that have one worth naming; None where they were not compared."""

    planned: Mapping[tuple[str, str], Mapping[tuple[str, str], int]] = field(default_factory=dict)
    runs: Sequence[RunCost] = ()
    latencies: Mapping[int, int] = field(default_factory=dict)
    spent_usd: Decimal | None = None
    judged_usd: Decimal = Decimal(0)
    alike: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Insight:
    """What is read of a version's files for its report."""

    held_back: Sequence[HeldBack]
    variety: Variety


@dataclass(frozen=True, slots=True)
class HeatMap:
    """How many conversations there are of each two values of two axes: `cells` has a row for each value in `down`, of (conversations,
    wanted or None). `more`: values that are not shown."""

    across: tuple[str, Sequence[str]]
    down: tuple[str, Sequence[str]]
    cells: Sequence[Sequence[tuple[int, int | None]]]
    more: int

    @property
    def highest(self) -> int:
        """The most conversations of a cell."""
        return max(count for row in self.cells for count, _ in row)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by ranges of equal width: (from, to, count). `marks`: values that a line shows, by name."""

    name: str
    unit: str
    bars: Sequence[tuple[float, float, int]]
    marks: Mapping[str, float]


def read_insight(data: Mapping[str, Sequence[Path]], beside: Path | None, measures: Measures, seed: int) -> Insight:
    """What a report tells beyond the card, of the files of each split and the one with what was not accepted."""
    paths = [path for some in data.values() for path in some]
    return Insight(list_held_back(beside, measures.scores.total()), measure_variety(paths, seed, tokens=measures.tokens.median))


def render(manifest: Manifest, measures: Measures, insight: Insight, facts: LedgerFacts, before: Manifest | None = None) -> str:
    """The whole report. `before` is the version before this one. Equal arguments give equal bytes."""
    sample = insight.variety.sample
    shown = (
        [sample[index * len(sample) // CONVERSATIONS] for index in range(CONVERSATIONS)]
        if len(sample) > CONVERSATIONS
        else sample
    )
    text: str = _template("report.html.jinja").render(
        manifest=manifest,
        measures=measures,
        held_back=insight.held_back,
        answers=manifest.rows + sum(one.count for one in insight.held_back),
        variety=insight.variety,
        before=before,
        facts=facts,
        costs=split_costs(measures, facts),
        maps=draw_maps(measures, facts),
        lengths=chart_lengths(measures),
        turns=measures.turns,
        scores=_chart_scores(measures),
        latencies=_chart_latencies(facts.latencies),
        alike=Histogram("similarity", "percent", _bin(facts.alike, 1), {}) if facts.alike else None,
        points=_list_points(measures),
        conversations=shown,
        limits={"turns": MAX_TURNS, "characters": MAX_TURN_CHARACTERS, "group": GROUP, "alike": MIN_ALIKE},
    )
    return text


def split_costs(measures: Measures, facts: LedgerFacts) -> dict[str, Decimal]:
    """What was paid for what, US dollars, as card and report tell it: the parts add up to all that was paid."""
    rest = (facts.spent_usd or Decimal(0)) - measures.spent_usd - facts.judged_usd
    parts = {
        "accepted conversations": measures.cost_usd,
        "answers that are not accepted": measures.spent_usd - measures.cost_usd,
        "the judge": facts.judged_usd,
        "calls without an answer, earlier answers": max(rest, Decimal(0)),
    }
    return {name: amount for name, amount in parts.items() if amount}


def draw_plots(measures: Measures) -> dict[str, str]:
    """The main charts as pictures of their own: SVG, by name."""
    charts = _template("charts.jinja").module
    return {one.name: str(charts.histogram(one, alone=True)) for one in (_chart_scores(measures), chart_lengths(measures))}


def draw_maps(measures: Measures, facts: LedgerFacts) -> list[HeatMap]:
    """A heat map of every two axes that have more than one value, the largest first."""
    maps = []
    for axes, counts in measures.pairs.items():
        planned = facts.planned.get(axes)
        held = {**dict.fromkeys(planned or (), 0), **counts}
        values = [_rank(held, at) for at in (0, 1)]
        if min(map(len, values)) < 2:
            continue
        down = 0 if len(values[0]) >= len(values[1]) else 1  # the longer axis: a page scrolls that way
        rows, columns = values[down][:MAX_VALUES], values[1 - down][:MAX_VALUES]
        pairs = [[(row, column) if down == 0 else (column, row) for column in columns] for row in rows]
        cells = [[(counts[pair], planned.get(pair, 0) if planned else None) for pair in some] for some in pairs]
        more = sum(map(len, values)) - len(rows) - len(columns)
        maps.append(HeatMap((axes[1 - down], columns), (axes[down], rows), cells, more))
    return sorted(maps, key=lambda one: -len(one.cells) * len(one.across[1]))


def _rank(counts: Mapping[tuple[str, str], int], at: int) -> list[str]:
    """The values of an axis, the most frequent first."""
    totals: Counter[str] = Counter()
    for pair, count in counts.items():
        totals[pair[at]] += count
    return sorted(totals, key=lambda value: (-totals[value], value))


def chart_lengths(measures: Measures) -> Histogram:
    """How long conversations are."""
    bars = _bin({step * LENGTH_STEP: count for step, count in measures.lengths.items()}, LENGTH_STEP)
    return Histogram("lengths", "tokens", bars, {"median": measures.tokens.median, "95 %": measures.tokens.p95})


def _chart_scores(measures: Measures) -> Histogram:
    return Histogram("scores", "score", [(score, score + 1, measures.scores.get(score, 0)) for score in range(1, 11)], {})


def _chart_latencies(latencies: Mapping[int, int]) -> Histogram | None:
    if not latencies:
        return None
    ranked, total, marks = sorted(latencies.items()), sum(latencies.values()), {}
    for name, share in (("median", 0.5), ("95 %", 0.95)):
        seen = 0
        for tenth, count in ranked:
            seen += count
            if seen >= share * total:
                marks[name] = (tenth + 0.5) / 10
                break
    bars = [(low / 10, high / 10, count) for low, high, count in _bin(latencies, 1)]
    return Histogram("latency", "seconds", bars, marks)


def _bin(counts: Mapping[int, int], step: int) -> list[tuple[float, float, int]]:
    """Counts in at most `_BARS` ranges whose width is a round number of steps."""
    low, high = min(counts), max(counts)
    needed = max(1.0, (high - low + step) / step / _BARS)
    scale = 10 ** int(log10(needed))
    width = step * next(ceil(scale * factor) for factor in (1, 2, 2.5, 5, 10) if scale * factor >= needed)
    start = low // width * width
    sums: Counter[int] = Counter()
    for value, count in counts.items():
        sums[(value - start) // width] += count
    return [(start + at * width, start + (at + 1) * width, sums[at]) for at in range((high - start) // width + 1)]


def _list_points(measures: Measures) -> dict[str, list[tuple[int, int, int]]]:
    """By scorer: (points, maximum, rows), the most points first."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for (name, points, maximum), rows in measures.points.items():
        if points is not None and maximum is not None:
            found.setdefault(name, []).append((points, maximum, rows))
    return {name: sorted(some, reverse=True) for name, some in sorted(found.items())}


@cache
def _template(name: str) -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else printable(value),
    )
    environment.filters |= {
        "count": lambda value: f"{value:,}",
        "percent": lambda share: f"{share:.0%}" if share >= 0.0995 or share == 0 else f"{share:.1%}",
        "tick": lambda value: f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}",
        "dollars": dollars,
    }
    return environment.get_template(name)
