"""Which conversations are chosen for a review, and that a review goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from review.conftest import NOW, TURNS, Reviewed, bring

from convoforge.errors import ConfigError
from convoforge.ledger.answers import write_scores
from convoforge.ledger.attempts import AnswerRow
from convoforge.ledger.judgments import claim_judgments
from convoforge.ledger.owners import make_owner, register
from convoforge.ledger.requests import register_draws
from convoforge.ledger.tables import answers
from convoforge.models import Quality, ScorerResult
from convoforge.planning.keys import draw_key
from convoforge.planning.quality import JudgeChoice
from convoforge.planning.spec import change_spec
from convoforge.review.agreement import read_summary
from convoforge.review.choosing import Queue, Sample, choose
from convoforge.review.deciding import decide, undo
from convoforge.review.items import read_items
from convoforge.scoring import Scored
from convoforge.scoring.judge import Judge


def queue(reviewed: Reviewed, sample: str = "all", *, reviewer: str = "Ada", again: bool = False) -> Queue:
    return choose(reviewed.ledger, reviewed.plan, reviewed.dataset, Sample.parse(sample), reviewer=reviewer, again=again)


def places(reviewed: Reviewed, found: Queue) -> list[int]:
    names = reviewed.names
    return [names.index(one.draw.conversation_id) for one in found.todo]


def score(reviewed: Reviewed, place: int, points: int, *results: ScorerResult) -> None:
    """Have a conversation scored so."""
    name = reviewed.names[place]
    request = next(one.draw.request_id for one in queue(reviewed).todo if one.draw.conversation_id == name)
    scored = Scored("r", Quality(points, results))
    reviewed.ledger.write(write_scores, [(request, 1, scored, f"{place}" * 64)], {request: f"{'f' * 32}/{place}"})


def test_what_needs_revision_comes_first_and_then_what_is_near_the_threshold(reviewed: Reviewed) -> None:
    for place, points in enumerate((2, 10, 5, 6, 4, 8)):
        score(reviewed, place, points)
    assert places(reviewed, queue(reviewed)) == [2, 4, 0, 3, 5, 1]
    assert places(reviewed, queue(reviewed, "borderline")) == [2, 3]
    assert places(reviewed, queue(reviewed, "rejected")) == [2, 4, 0]


def test_a_sample_stays_as_it_is_while_it_is_reviewed(reviewed: Reviewed) -> None:
    """Whoever accepts what was rejected has done one of as many as there were."""
    before = queue(reviewed, "rejected")
    names = [one.draw.conversation_id for one in before.todo]
    decide(reviewed.ledger, names[0], "accept", "Ada", now=NOW)
    decide(reviewed.ledger, names[1], "edit", "Ben", now=NOW, turns=TURNS)
    after = queue(reviewed, "rejected")
    assert [one.draw.conversation_id for one in after.todo] == names[2:]
    assert [one.draw.conversation_id for one in after.done] == names[:1]
    again = queue(reviewed, "rejected", again=True)
    assert [one.draw.conversation_id for one in again.todo] == names[1:]
    assert len(queue(reviewed, "rejected", reviewer="Cleo")) == len(names) - 2
    undo(reviewed.ledger, names[0], "Ada", now=NOW)
    assert [one.draw.conversation_id for one in queue(reviewed, "rejected").todo] == [names[0], *names[2:]]


def test_at_random_each_value_of_each_axis_has_so_many(reviewed: Reviewed) -> None:
    found = queue(reviewed, "random:1")
    cells = [one.cell for one in found.todo]
    assert {cell.persona for cell in cells} == {"Anxious Investor", "New Parent"}
    assert {cell.topic for cell in cells} == {"topic 0", "topic 1", "topic 2"}
    assert len(cells) < 6
    assert found == queue(reviewed, "random:1"), "the same seed, the same ones"
    assert len(queue(reviewed, "random:9")) == 6
    seeds = [replace(reviewed.plan, spec=change_spec(reviewed.plan.spec, seed=seed)) for seed in range(6)]
    drawn = {choose(reviewed.ledger, plan, reviewed.dataset, Sample("random", 1), reviewer="Ada").todo for plan in seeds}
    assert len(drawn) > 1


def test_judge_and_rules_disagree_where_one_keeps_what_the_other_does_not(reviewed: Reviewed) -> None:
    def judge(verdict: str) -> ScorerResult:
        return ScorerResult("judge.persona", 1, 2, 4, verdict, "")

    dropped = ScorerResult("markup", 1, None, None, "drop", "")
    score(reviewed, 0, 9, judge("revise"))
    score(reviewed, 1, 9, judge("keep"))
    score(reviewed, 2, 3, judge("keep"))
    score(reviewed, 3, 9, judge("keep"), dropped)
    score(reviewed, 4, 9, dropped)
    score(reviewed, 5, 9, ScorerResult("judge", 1, None, None, "mark", "no answer counts"))
    assert sorted(places(reviewed, queue(reviewed, "disagreements"))) == [0, 2, 3]


def test_what_a_filter_rejects_is_asked_about_where_a_judge_has_read_it_and_would_keep_it(reviewed: Reviewed) -> None:
    """A judge reads what was reviewed, too, and a filter may come later: what it has said of such a conversation is in no result."""
    choice = JudgeChoice(rubric="training")
    quality = reviewed.plan.spec.quality.model_copy(update={"judge": choice})
    judged = replace(reviewed, plan=replace(reviewed.plan, spec=change_spec(reviewed.plan.spec, quality=quality)))

    def say(points: int) -> str:
        said = {"quote": "Is a bond safe, Ada?", "reason": "so it is", "points": points}
        return orjson.dumps(dict.fromkeys(Judge.of(choice, judged.plan.library.folder).rubric.criteria, said)).decode()

    for place, text in ((0, say(4)), (2, say(1)), (4, "this is no judgment")):
        score(reviewed, place, 9, ScorerResult("markup", 1, None, None, "drop", ""))
        answer_judge(reviewed, place, text)
    assert places(judged, queue(judged, "disagreements")) == [0]
    assert places(reviewed, queue(reviewed, "disagreements")) == [], "a spec without a judge has nobody to disagree with"


def answer_judge(reviewed: Reviewed, place: int, text: str) -> None:
    """Have a judge say something of a conversation that was scored."""
    ledger, owner, cell = reviewed.ledger, make_owner(), replace(reviewed.plan.cells[place], key="f" * 32)
    ledger.write(register, owner, NOW)
    ledger.write(register_draws, reviewed.dataset, [(cell, place)], purpose="judge")
    [claimed] = ledger.write(claim_judgments, owner.id, [draw_key(cell.key, place)], NOW)
    row = AnswerRow("judged", "5" * 64, "judged", None, None, text, None, "1/x", None, temperature_applied=False)
    bring(reviewed, owner, claimed.request_id, cell, row, "judge")


@pytest.mark.parametrize("name", ["random", "random:0", "random:x", "random:²", "random:1001", "bordeline", "all:3", ""])
def test_an_unknown_sample_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no sample"):
        Sample.parse(name)


def test_a_reviewer_sees_what_was_said_of_a_conversation(reviewed: Reviewed) -> None:
    name = reviewed.names[0]
    decide(reviewed.ledger, name, "edit", "Ben", now=NOW, turns=TURNS, note="clearer")
    [item] = [one for one in read_items(reviewed.ledger, queue(reviewed, again=True).todo) if one.conversation_id == name]
    assert (item.status, item.reason, item.decision) == ("needs_revision", "score 4 is below 6", "edit")
    assert item.conversation.turns[1].content == TURNS[1]["content"]
    assert (item.find_decision("Ben"), item.find_decision("Ada")) == ("edit", None)
    assert item.describe()["reviewers"] == ["Ben"]


def test_two_reviewers_agree_so_far(reviewed: Reviewed) -> None:
    ada, ben = ("accept", "edit", "reject", "revise"), ("accept", "accept", "reject", "accept")
    for name, one, two in zip(reviewed.names, ada, ben, strict=False):
        decide(reviewed.ledger, name, one, "Ada", now=NOW, turns=TURNS if one == "edit" else None)
        decide(reviewed.ledger, name, two, "Ben", now=NOW)
    decide(reviewed.ledger, reviewed.names[5], "accept", "Cleo", now=NOW)
    found = read_summary(reviewed.ledger, reviewed.dataset)
    assert (found.decisions, found.reviewers) == ({"accept": 4, "reject": 1}, {"Ada": 4, "Ben": 4, "Cleo": 1})
    [pair] = found.pairs
    assert (pair.first, pair.second, pair.agreement.pairs, pair.agreement.share) == ("Ada", "Ben", 4, 0.75)
    assert found.as_json()["agreement"][0]["kappa"] == pytest.approx(0.5)


def test_reserves_and_answers_without_a_conversation_are_not_asked_about(reviewed: Reviewed) -> None:
    reviewed.ledger.write(
        lambda connection: connection.execute(answers.update().where(answers.c.request_id == 1).values(kind="refused")) and None
    )
    assert len(queue(reviewed)) == 5
