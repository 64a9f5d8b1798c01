"""Where a judge and the rules say opposite things of a conversation: one would publish it, the other would not. Asks no judge: what it
has said already counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convoforge.ledger import Ledger
from convoforge.ledger.answers import read_answers, read_conversation
from convoforge.ledger.judgments import read_judged, read_judgments
from convoforge.models import Quality
from convoforge.planning.plan import Plan
from convoforge.scoring.judge import Judge


def find_disagreements(ledger: Ledger, plan: Plan, dataset_id: int) -> set[int]:
    """The requests of a dataset whose conversation judge and rules disagree on, whichever of the two would keep it."""
    judged, min_score = ledger.read(read_judged, dataset_id), plan.spec.quality.min_score
    by_judge = {request: passes for request, one in judged.items() if (passes := _find_verdict(one)) is not None}
    by_judge |= _read_unused(ledger, plan, [request for request, one in judged.items() if _is_filtered(one)])
    return {
        request
        for request, passes in by_judge.items()
        if passes != (judged[request].score >= min_score and not _is_filtered(judged[request]))
    }


def _find_verdict(quality: Quality) -> bool | None:
    """Whether the judge would keep a conversation; None where it has said nothing that counts."""
    verdicts = [one.verdict for one in quality.results if one.name.startswith("judge.")]
    return all(verdict == "keep" for verdict in verdicts) if verdicts else None


def _is_filtered(quality: Quality) -> bool:
    return any(one.verdict in ("drop", "revise") and not one.name.startswith("judge") for one in quality.results)


def _read_unused(ledger: Ledger, plan: Plan, ids: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """Whether the judge would keep conversations that a filter rejects: it has read those that were reviewed, or that a filter has come to
    reject since, and their results hold no word of it."""
    if (choice := plan.spec.quality.judge) is None or not ids:
        return
    judge = Judge.of(choice, plan.library.folder)
    rows = ledger.read(lambda connection: [row for row in read_answers(connection, ids) if row.turns and row.judge_key])
    answers = ledger.read(read_judgments, [row.judge_key for row in rows])
    for row in rows:
        if (answer := answers.get(row.judge_key)) is not None:
            said = judge.apply(Quality(row.score), read_conversation(row.turns, row.system), answer)
            if (passes := _find_verdict(said)) is not None:
                yield row.id, passes
