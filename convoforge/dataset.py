"""A dataset as the ledger holds it: how it stands, and its scores. Needs no API, no Prefect, and pays nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from convoforge.ledger import Ledger
from convoforge.ledger.draws import read_draws, unscored, write_scores
from convoforge.plan import Plan
from convoforge.quality import RUBRIC_VERSION, scored
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
    """Answered draws that matter and would be sent differently today: kept, and regenerated only when somebody asks for it."""
    return _changed(plan, standing, standing.held)


def find_mended(plan: Plan, standing: Standing) -> list[Draw]:
    """Draws that the API refused, that matter, and that would be sent differently today."""
    return _changed(plan, standing, standing.refused)


def find_refused(plan: Plan, standing: Standing) -> list[Draw]:
    """Draws that the API refused, as many of each cell as it is short of, its first ones: what is asked again, unchanged, by wish."""
    taken = Counter(draw.cell for draw in standing.publish)
    taken.update(draw.cell for draw in standing.pending if draw.kind is None)
    found = []
    for draw in standing.refused:
        if taken[draw.cell] < plan.spec.per_cell:
            taken[draw.cell] += 1
            found.append(draw)
    return found


def _changed(plan: Plan, standing: Standing, draws: Iterable[Draw]) -> list[Draw]:
    """Those of `draws` with another prompt or settings today. Of a cell that has all it wants, only what it publishes matters."""
    cells = {cell.key: cell for cell in plan.cells}
    published = {draw.request_id for draw in standing.publish}
    filled = Counter(draw.cell for draw in standing.publish)
    return [
        draw
        for draw in draws
        if (draw.request_id in published or filled[draw.cell] < plan.spec.per_cell)
        and draw.sent != bytes.fromhex(plan.sent(cells[draw.cell], draw.draw))
    ]


def score_dataset(ledger: Ledger, dataset_id: int) -> int:
    """Score every conversation that has no score of today's rubric: what an older release has scored. Returns how many there were."""
    total = 0
    while rows := ledger.read(unscored, dataset_id, RUBRIC_VERSION, _SCORED_AT_ONCE):
        ledger.write(write_scores, [(request, attempt, scored(conversation)) for request, attempt, conversation in rows])
        total += len(rows)
    return total
