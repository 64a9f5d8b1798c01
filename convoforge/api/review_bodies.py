"""JSON bodies of reviews, as those in `bodies`."""

from __future__ import annotations

from pydantic import BaseModel, Field

from convoforge.api.bodies import REQUEST, Answer, ListedConversation
from convoforge.ledger.reviews import Decision
from convoforge.models import Provider, Role, ScorerResult, Turn
from convoforge.review.deciding import MAX_NOTE


class EditedTurn(BaseModel):
    """A turn as the reviewer wants it."""

    model_config = REQUEST

    role: Role
    content: str


class ReviewRequest(BaseModel):
    """A decision: accept, reject, revise (send back), or edit, which needs `turns`: all of them, without the system turn. `editOf` names
    what they were made of, as the queue has it: where another edit stands by now, nothing is written."""

    model_config = REQUEST

    decision: Decision
    note: str = Field(default="", max_length=MAX_NOTE)
    turns: list[EditedTurn] | None = Field(default=None, max_length=1_000)
    edit_of: int | None = Field(default=None, ge=0)


class ReviewItemBody(ListedConversation):
    """A conversation to be reviewed. `status` and `reason` are those of the rules alone, `scorers` what scorers, filters and a judge say of
    the original; `turns` are what would be published, `decision` what counts, if anybody has decided. `editOf` is the id of the edit that
    `turns` are of, 0 for the original."""

    scorers: list[ScorerResult]
    decision: str | None
    reviewers: list[str]
    system: str | None
    turns: list[Turn]
    edit_of: int


class AgreementBody(Answer):
    """How two reviewers agree on which conversations to publish: the share, and Cohen's κ with its 95 % interval; null if it is not
    defined. `pairs` conversations were reviewed by both."""

    reviewers: list[str]
    pairs: int
    agreement: float | None
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None


class QueueBody(Answer):
    """What there is to review: `items` are some of `todo` conversations, `done` others of the sample this caller has decided already.
    `decisions` and `reviewers` count conversations of the whole dataset."""

    dataset: str
    provider: Provider
    sample: str
    todo: int
    done: int
    items: list[ReviewItemBody]
    decisions: dict[str, int]
    reviewers: dict[str, int]
    agreement: list[AgreementBody]
