"""What a dataset asks for next, as the ledger learns of it."""

from __future__ import annotations

from collections.abc import Sequence

from convoforge.ledger import Ledger
from convoforge.ledger.requests import read_lines, register_draws
from convoforge.planning.plan import Cell, Plan
from convoforge.planning.variety import MAX_EVEN, pick_lines


def register(ledger: Ledger, plan: Plan, dataset_id: int, draws: Sequence[tuple[Cell, int]]) -> None:
    """Register draws of a plan, new cells with variation lines of their own. What is registered already is not changed."""
    taken = ledger.read(read_lines, dataset_id)
    new = {cell.key: cell.values for cell, draw in draws if draw == 0 and cell.key not in taken}
    chosen = dict([*new.items()][: max(0, MAX_EVEN - len(taken))])
    sizes = {name: plan.library.template(name).sizes for name in plan.spec.templates}
    lines = {key: kept for key, (_, kept) in taken.items()}
    lines.update(zip(chosen, pick_lines(chosen.values(), sizes, taken.values()), strict=True))
    ledger.write(register_draws, dataset_id, draws, lines)
