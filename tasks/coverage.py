"""A picture of a dataset's coverage, which a page can hold. Pure."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Collection
from html import escape

from convoforge.planning.plan import Cell, Plan
from convoforge.planning.spec import AXES

MAX_VALUES = 30
"""Maximum number of values of an axis in the picture."""


def draw_coverage(plan: Plan, accepted: Collection[str]) -> str:
    """A picture of the share of a plan that is accepted, by the two axes with the most values: SVG, as the address of an image. `accepted`
    are the keys of cells, once for each conversation."""
    values = {axis: list(dict.fromkeys(str(getattr(cell, axis)) for cell in plan.cells)) for axis in AXES}
    across, down = sorted(AXES, key=lambda axis: -len(values[axis]))[:2]
    columns, rows = values[across][:MAX_VALUES], values[down][:MAX_VALUES]
    cells = {cell.key: cell for cell in plan.cells}

    def place(cell: Cell) -> tuple[str, str]:
        return getattr(cell, down), getattr(cell, across)

    wanted = Counter(place(cell) for cell in plan.cells)
    got = Counter(place(cells[key]) for key in accepted)
    side, left, top = 34, 190, 150
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + side * len(columns) + 110}" height="{top + side * len(rows) + 10}">',
        '<g font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
    ]
    for x, column in enumerate(columns):
        at = left + side * x + side / 2
        parts.append(f'<text x="{at}" y="{top - 8}" transform="rotate(-45 {at} {top - 8})">{escape(column[:28])}</text>')
    for y, row in enumerate(rows):
        parts.append(f'<text x="{left - 8}" y="{top + side * y + side / 2 + 4}" text-anchor="end">{escape(row[:26])}</text>')
        for x, column in enumerate(columns):
            if planned := wanted[row, column] * plan.spec.per_cell:
                share = got[row, column] / planned
                parts.append(
                    f'<rect x="{left + side * x}" y="{top + side * y}" width="{side - 2}" height="{side - 2}" '
                    f'fill="hsl(145 {round(60 * share)}% {round(92 - 50 * share)}%)"/>'
                    f'<text x="{left + side * x + side / 2 - 1}" y="{top + side * y + side / 2 + 4}" font-size="10" text-anchor="middle" '
                    f'fill="{"white" if share > 0.6 else "black"}">{got[row, column]}/{planned}</text>'
                )
    parts.append("</g></svg>")
    return f"data:image/svg+xml;base64,{base64.b64encode(''.join(parts).encode()).decode()}"
