"""A dataset as the ledger holds it: how it stands, and its scores. Needs no API, no Prefect, and pays nothing."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from convoforge.dataset.acceptance import NO_NEIGHBORS, DatasetStatus, Neighbors, assess
from convoforge.dataset.cell_counts import assess_cells
from convoforge.dataset.near_duplicates import check_compared, list_compared, read_neighbors, sign_conversations
from convoforge.dataset.scoring_processes import open_scoring
from convoforge.errors import format_count
from convoforge.ledger import Ledger
from convoforge.ledger.answers import Score, Unscored, list_unscored, read_unscored, sum_paid, write_scores
from convoforge.ledger.judgments import ask_again, read_judgments
from convoforge.ledger.model_facts import read_facts
from convoforge.ledger.plans import keep_plan, read_cells, read_plan, read_run_plan
from convoforge.ledger.requests import read_draws
from convoforge.ledger.runs import find_dataset
from convoforge.ledger.signatures import list_unsigned
from convoforge.models import Provider
from convoforge.planning.draws import Draw
from convoforge.planning.grid import Grid, Past, Values
from convoforge.planning.keys import draw_key
from convoforge.planning.model_facts import ModelFacts
from convoforge.planning.plan import Plan, make_plan
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.pricing import dollars, usd
from convoforge.scoring import Judge, Rubric
from convoforge.scoring.judge import REFUSED

_SCORED_AT_ONCE = 1_000


def plan_dataset(
    ledger: Ledger,
    spec: DatasetSpec,
    library: Library,
    provider: Provider,
    *,
    run: str | None = None,
    facts: ModelFacts | None = None,
) -> Plan:
    """The plan of a spec for what the ledger holds of its dataset: the cells that were chosen last, or, after a change of the spec, the
    cells that hold accepted conversations first. `run` is one that is under way: its plan, as whoever began it chose it.
    `facts` are what is known of the model; without them what the ledger knows, or the package.

    Raises `ConfigError` as `make_plan` does, and for scorers that cannot be loaded and datasets that there are not.
    """
    Rubric.of(spec, library)
    check_compared(ledger, spec, library.folder)
    facts = facts or ledger.read(read_facts, provider, spec.model, datetime.now(UTC))
    row = ledger.read(find_dataset, spec.name, provider)
    if row is None:
        return make_plan(spec, library, provider, facts)
    dataset = int(row.id)

    def recall(_grid: Grid, signature: str) -> Past:
        if run is not None and (own := ledger.read(read_run_plan, run)) is not None:
            return Past(own)
        newest = ledger.read(read_plan, dataset)
        if spec.sample is None or (newest is not None and newest.signature == signature):
            return Past(newest)
        same = ledger.read(read_plan, dataset, signature)
        accepted = _accepted(ledger, dataset, spec, ledger.read(read_cells, dataset))
        return Past(newest, same, Counter(values for values, _ in accepted))

    return make_plan(spec, library, provider, facts, recall)


def settle_plan(ledger: Ledger, dataset_id: int, run_id: str, plan: Plan, now: datetime) -> Plan:
    """Keep a run's plan. Returns it, or another one of its spec where a build at the same time has chosen first."""
    while True:
        newest = ledger.read(read_plan, dataset_id)
        if newest is not None and newest.signature == plan.signature and newest.cells not in (None, plan.numbers):
            plan = plan_dataset(ledger, plan.spec, plan.library, plan.provider, facts=plan.facts)
        if ledger.write(keep_plan, dataset_id, run_id, plan, newest.id if newest else None, now):
            return plan


@dataclass(frozen=True, slots=True)
class Stranded:
    """Accepted conversations that a change of the spec takes out of the dataset, of how many, and what was paid for them in US
    dollars. They stay in the ledger."""

    conversations: int
    accepted: int
    paid_usd: Decimal

    @property
    def share(self) -> float:
        """Which part of the accepted ones that is."""
        return self.conversations / self.accepted if self.accepted else 0.0

    def __str__(self) -> str:
        return (
            f"{self.conversations:,} of {format_count(self.accepted, 'accepted conversation')}, {dollars(self.paid_usd)} already paid, "
            "leave the dataset with this change of the spec (they stay in the ledger)"
        )


NONE_STRANDED = Stranded(0, 0, Decimal(0))


def find_stranded(ledger: Ledger, plan: Plan) -> Stranded:
    """What a plan leaves behind of the one that was chosen before."""
    row = ledger.read(find_dataset, plan.spec.name, plan.provider)
    if row is None:
        return NONE_STRANDED
    before = ledger.read(read_plan, int(row.id))
    if before is None or before.signature == plan.signature:
        return NONE_STRANDED
    cells = ledger.read(read_cells, int(row.id))
    had = before.having(cells.values())
    accepted = _accepted(ledger, int(row.id), plan.spec, {key: values for key, values in cells.items() if values in had})
    has = {cell.values for cell in plan.cells}
    gone = [draw.request_id for values, draw in accepted if values not in has]
    return Stranded(len(gone), len(accepted), usd(ledger.read(sum_paid, gone)))


def _accepted(ledger: Ledger, dataset_id: int, spec: DatasetSpec, cells: dict[str, Values]) -> list[tuple[Values, Draw]]:
    """What is accepted in some cells, whatever plan they are of."""
    status = ledger.read(assess_cells, dataset_id, spec, sorted(cells))
    return [(cells[draw.cell], draw) for draw in status.accepted]


def read_status(
    ledger: Ledger, plan: Plan, dataset_id: int, *, own: bool = False, torn: Mapping[int, str] = NO_NEIGHBORS.torn
) -> DatasetStatus:
    """How a dataset stands under a plan today. With `own`, what another process has scored by another rubric, as by a spec that was
    changed meanwhile, is not scored: nothing is asked for in its place. `torn` are requests whose conversation has no place."""
    rubric = Rubric.of(plan.spec, plan.library).version if own else None
    draws = ledger.read(read_draws, dataset_id, rubric)  # first: what is answered meanwhile is not among them
    near = ledger.read(read_neighbors, dataset_id, plan.spec.quality.near_duplicates, with_unknown=True)
    return assess_draws(plan, draws, replace(near, torn=torn))


def assess_draws(plan: Plan, draws: Iterable[Draw], near: Neighbors = NO_NEIGHBORS) -> DatasetStatus:
    """How draws stand under a plan."""
    return assess(
        [cell.key for cell in plan.cells],
        draws,
        min_score=plan.spec.quality.min_score,
        per_cell=plan.spec.per_cell,
        max_draws=plan.spec.max_draws,
        near=near,
    )


def find_stale(plan: Plan, status: DatasetStatus) -> list[Draw]:
    """Answered draws that matter and would be sent differently today: kept, and regenerated only when somebody asks for it."""
    return _changed(plan, status, status.answered)


def find_mended(plan: Plan, status: DatasetStatus) -> list[Draw]:
    """Draws that the API refused, that matter, and that would be sent differently today."""
    return _changed(plan, status, status.refused)


def find_refused(plan: Plan, status: DatasetStatus) -> list[Draw]:
    """Draws that the API refused, as many of each cell as it is short of, its first ones: what is asked again, unchanged, by wish."""
    return _fill_up(plan, status, status.refused)


def find_judge_refused(plan: Plan, status: DatasetStatus) -> list[Draw]:
    """The same of conversations that the API refused to let be judged: their judge is asked again."""
    return _fill_up(plan, status, [one.draw for one in status.rejected if one.reason.startswith(f"judge: {REFUSED}")])


def _fill_up(plan: Plan, status: DatasetStatus, draws: Iterable[Draw]) -> list[Draw]:
    taken = Counter(draw.cell for draw in (*status.accepted, *status.to_judge))
    taken.update(draw.cell for draw in status.pending if draw.kind is None)
    found = []
    for draw in draws:
        if taken[draw.cell] < plan.spec.per_cell:
            taken[draw.cell] += 1
            found.append(draw)
    return found


def _changed(plan: Plan, status: DatasetStatus, draws: Iterable[Draw]) -> list[Draw]:
    """Those of `draws` with another prompt or settings today. Of a cell that has all it wants, only what it publishes matters."""
    cells = {cell.key: cell for cell in plan.cells}
    published = {draw.request_id for draw in status.accepted}
    filled = Counter(draw.cell for draw in status.accepted)
    return [
        draw
        for draw in draws
        if (draw.request_id in published or filled[draw.cell] < plan.spec.per_cell)
        and draw.fingerprint != bytes.fromhex(plan.fingerprint(cells[draw.cell], draw.draw, draw.lines))
    ]


def is_scored(ledger: Ledger, plan: Plan, dataset_id: int) -> bool:
    """Whether every conversation of a dataset has results of the spec's scorers, in their versions of today, and has been compared."""
    rule = plan.spec.quality.near_duplicates
    if ledger.read(list_unscored, dataset_id, Rubric.of(plan.spec, plan.library).version):
        return False
    return rule is None or not ledger.read(list_unsigned, ledger.read(list_compared, dataset_id, rule))


def score_dataset(ledger: Ledger, plan: Plan, dataset_id: int) -> int:
    """Score every conversation that has no results of the spec's scorers, in their versions of today, and compare with the others what
    has not been compared yet. Returns how many were scored.

    Raises `ConfigError` where a scorer fails; what was scored before it is kept.
    """
    rubric, spec = Rubric.of(plan.spec, plan.library), plan.spec
    ids = ledger.read(list_unscored, dataset_id, rubric.version)
    read: deque[Sequence[Unscored]] = deque()  # the chunks whose results have not come yet

    def read_chunks() -> Iterator[Sequence[Unscored]]:
        for start in range(0, len(ids), _SCORED_AT_ONCE):
            read.append(ledger.read(read_unscored, spec.name, ids[start : start + _SCORED_AT_ONCE], spec.parameters))
            yield read[-1]

    with open_scoring(spec, plan.library, len(ids)) as score:
        for results in score(read_chunks()):
            rows, keys = read.popleft(), dict[int, str]()
            if (judge := rubric.judge) is not None:
                contents = zip(rows, results, strict=True)
                keys = {row[0]: draw_key(judge.key(plan.provider, row[3], one[3]), 0) for row, one in contents}
                results = _judge(ledger, judge, rows, results, keys)
            ledger.write(write_scores, results, keys)
    if (rule := spec.quality.near_duplicates) is not None:
        sign_conversations(ledger, ledger.read(list_compared, dataset_id, rule), plan.provider)
    return len(ids)


def _judge(
    ledger: Ledger, judge: Judge, rows: Sequence[Unscored], results: Sequence[Score], keys: Mapping[int, str]
) -> Sequence[Score]:
    """Results with what the judge has said. A request whose answer does not count is made pending again, as far as that is paid for."""
    wanted = [keys[request] for request, _, scored, _ in results if scored.quality.rejection is None]
    answers, useless, judged = ledger.read(read_judgments, wanted), [], list[Score]()
    for (request, _, conversation, _), (_, attempt, scored, content) in zip(rows, results, strict=True):
        answer = answers.get(keys[request])
        quality = judge.apply(scored.quality, conversation, answer)
        if answer is not None and answer.answers and quality.is_unjudged:
            useless.append(answer)
        judged.append((request, attempt, replace(scored, quality=quality), content))
    ledger.write(ask_again, useless)
    return judged
