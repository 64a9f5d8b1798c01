"""A dataset as the ledger holds it: how it stands, and its scores. Needs no API, no Prefect, and pays nothing."""

from __future__ import annotations

from convoforge.ledger import Ledger
from convoforge.ledger.draws import read_draws, unscored, write_scores
from convoforge.plan import Plan
from convoforge.quality import RUBRIC_VERSION, score
from convoforge.quality.duplicates import content_hash
from convoforge.standing import Draw, Standing, assess

_SCORED_AT_ONCE = 1_000


def read_standing(ledger: Ledger, plan: Plan, dataset_id: int) -> Standing:
    """How a dataset stands under a plan today."""
    return assess(
        [cell.key for cell in plan.cells],
        ledger.read(read_draws, dataset_id),
        min_score=plan.spec.quality.min_score,
        per_cell=plan.spec.per_cell,
        max_draws=plan.spec.max_draws,
    )


def find_stale(plan: Plan, standing: Standing) -> list[Draw]:
    """Held draws that would be sent differently today: kept, and regenerated only when somebody asks for it."""
    cells = {cell.key: cell for cell in plan.cells}
    return [draw for draw in standing.held if draw.sent != plan.sent(cells[draw.cell], draw.draw)]


def find_mended(plan: Plan, standing: Standing) -> list[Draw]:
    """Draws that the API refused, and that would be sent differently today."""
    cells = {cell.key: cell for cell in plan.cells}
    refused = [verdict.draw for verdict in standing.revise if verdict.draw.kind is None]
    return [draw for draw in refused if draw.sent != plan.sent(cells[draw.cell], draw.draw)]


def score_dataset(ledger: Ledger, dataset_id: int) -> int:
    """Score every conversation that has no score of today's rubric. Returns how many there were."""
    total = 0
    while rows := ledger.read(unscored, dataset_id, RUBRIC_VERSION, _SCORED_AT_ONCE):
        scored = [(request, attempt, score(conversation), content_hash(conversation)) for request, attempt, conversation in rows]
        ledger.write(write_scores, RUBRIC_VERSION, scored)
        total += len(scored)
    return total
