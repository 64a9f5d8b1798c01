"""Whether a judge can be trusted: how far it agrees with what people have decided in reviews, beyond what chance would give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from convoforge.errors import GenerationValidationError, format_count
from convoforge.ledger import Ledger
from convoforge.ledger.judgments import Reviewed, read_judgments, read_reviewed
from convoforge.planning.plan import Plan
from convoforge.scoring.judge import CriterionPoints, Judge

MIN_REVIEWS = 50
"""Minimum number of conversations that were both reviewed and judged: with fewer, the interval is too wide to mean anything."""

MIN_KAPPA = 0.6
"""Minimum of Cohen's κ: what is called substantial agreement."""

_95_PERCENT = 1.96


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two raters agree on `pairs` conversations: `share` of equal decisions, and Cohen's κ with its 95 % interval from `low` to `high`;
    None where all decisions of both are the same one, so that chance would give as much."""

    pairs: int
    share: float | None = None
    kappa: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_enough(self) -> bool:
        """Whether the judge is calibrated by it."""
        return self.pairs >= MIN_REVIEWS and self.kappa is not None and self.kappa >= MIN_KAPPA

    def __str__(self) -> str:
        if self.share is None:
            return "nothing to compare"
        if self.kappa is None or self.low is None or self.high is None:
            return f"agreement {self.share:.0%}, κ is not defined, as all decisions are the same"
        return f"agreement {self.share:.0%}, κ {self.kappa:.2f} ({self.low:.2f} to {self.high:.2f})"

    def as_json(self) -> dict[str, Any]:
        names = {
            "pairs": self.pairs,
            "agreement": self.share,
            "kappa": self.kappa,
            "kappa_low": self.low,
            "kappa_high": self.high,
        }
        return {**names, "calibrated": self.is_enough}


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge beside the reviews of a dataset. `verdict` compares whether a conversation passes all criteria with whether the reviewer
    accepted it, `criteria` whether it passes one of them. `unread` are reviewed conversations without a judgment that counts."""

    verdict: Agreement
    criteria: Mapping[str, Agreement]
    unread: tuple[int, ...]

    def __str__(self) -> str:
        if self.verdict.is_enough:
            return f"the judge is calibrated on {self.verdict.pairs:,} reviewed conversations: {self.verdict}"
        if self.verdict.pairs < MIN_REVIEWS:
            what = format_count(self.verdict.pairs, "reviewed conversation")
            return f"the judge is not calibrated: it has judged {what}, and {MIN_REVIEWS} are needed"
        return f"the judge is not calibrated: {self.verdict}, where κ has to be {MIN_KAPPA:g} at least"

    def as_json(self) -> dict[str, Any]:
        criteria = {name: one.as_json() for name, one in self.criteria.items()}
        return {**self.verdict.as_json(), "criteria": criteria, "reviewed_not_judged": len(self.unread), "message": str(self)}


def calibrate(ledger: Ledger, dataset_id: int, judge: Judge) -> Calibration:
    """Compare a judge with the reviews of a dataset, whose conversations were scored before with this judge."""
    reviewed = ledger.read(read_reviewed, dataset_id)
    found = dict(_read_points(ledger, judge, reviewed))
    needed = {name: judge.minimum.get(name, one.maximum // 2 + 1) for name, one in judge.rubric.criteria.items()}

    def compare(names: Sequence[str]) -> Agreement:
        decisions = ((all(found[one][name].points >= needed[name] for name in names), one.accepted) for one in found)
        return measure_agreement(decisions)

    return Calibration(
        verdict=compare([*needed]),
        criteria={name: compare([name]) for name in needed},
        unread=tuple(one.request_id for one in reviewed if one not in found),
    )


def describe_calibration(ledger: Ledger, plan: Plan, dataset_id: int) -> str:
    """Whether the judge of a plan's spec is calibrated, as a sentence; empty where the spec has none."""
    choice = plan.spec.quality.judge
    if choice is None:
        return ""
    found = calibrate(ledger, dataset_id, Judge.of(choice, plan.library.folder))
    return f"judged by {choice.model} with the rubric '{choice.rubric}'; {found}"


def measure_agreement(decisions: Iterable[tuple[bool, bool]]) -> Agreement:
    """The agreement of two raters, with the interval by the asymptotic variance of Fleiss, Cohen and Everitt (1969)."""
    pairs = [*decisions]
    if not pairs:
        return Agreement(0)
    n, kinds = len(pairs), (True, False)
    share = {(a, b): pairs.count((a, b)) / n for a in kinds for b in kinds}
    first = {a: share[a, True] + share[a, False] for a in kinds}
    second = {b: share[True, b] + share[False, b] for b in kinds}
    observed, chance = sum(share[a, a] for a in kinds), sum(first[a] * second[a] for a in kinds)
    if chance > 1 - 1e-12:
        return Agreement(n, observed)
    kappa = (observed - chance) / (1 - chance)
    equal = sum(share[a, a] * (1 - (first[a] + second[a]) * (1 - kappa)) ** 2 for a in kinds)
    other = (1 - kappa) ** 2 * sum(share[a, not a] * (second[a] + first[not a]) ** 2 for a in kinds)
    variance = max(0.0, equal + other - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    off = _95_PERCENT * sqrt(variance)
    return Agreement(n, observed, kappa, max(-1.0, kappa - off), min(1.0, kappa + off))


def _read_points(
    ledger: Ledger, judge: Judge, reviewed: Sequence[Reviewed]
) -> Iterator[tuple[Reviewed, dict[str, CriterionPoints]]]:
    """What the judge says of those reviewed conversations of which it has given an answer that counts."""
    answers = ledger.read(read_judgments, [one.judge_key for one in reviewed if one.judge_key])
    for one in reviewed:
        answer = answers.get(one.judge_key or "")
        if answer is not None and answer.text is not None:
            try:
                yield one, judge.read(answer.text, one.conversation)
            except GenerationValidationError:
                continue
