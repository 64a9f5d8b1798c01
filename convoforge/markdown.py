"""Text that others wrote, inside Markdown of ours: shown as it is. A persona, a model's name or a reason may hold HTML, a link or an
image that is fetched from elsewhere when somebody looks at the page; none of it works here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from convoforge.printable import printable_line

_ACTIVE = re.compile(r"[\\`*\[\]|~&<>]|(?<=:)/(?=/)")  # the last is what makes a link of a bare address
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "/": "&#47;"}


def inline(text: str) -> str:
    """A text on one line, in a paragraph, a list or the cell of a table."""
    return _ACTIVE.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), printable_line(" ".join(text.split())))


def table_row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(inline, cells))} |"


def code(text: str) -> str:
    """A text in a line, set as code."""
    line = printable_line(" ".join(text.split()))
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{ticks} {line} {ticks}" if "`" in line else f"`{line}`"


def fenced(text: str, language: str, mark: str = "`") -> str:
    """A block of code, whatever fences stand in it."""
    longest = max(map(len, re.findall(f"{mark}+", text)), default=0)
    fence = mark * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
