"""A draw: one of the conversations requested for a cell, as the ledger holds it."""

from __future__ import annotations

from dataclasses import dataclass

from convoforge.planning.keys import conversation_id, draw_key


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw as the ledger holds it. `state` is pending, claimed, held or failed; the other fields describe its answer:
    `decision` is that of the review that decides, `rejection` a filter's (drop or revise), with its `reason`. `fingerprint` (the request's)
    and `content_hash` (of what is published: of an edit, the edited turns) are bytes, half the size of hex digits, as all draws of a large
    dataset are in memory at once. `lines` are the variation lines of its cell's first draw, see `variety`."""

    request_id: int
    cell: str
    draw: int
    state: str
    fingerprint: bytes | None = None
    kind: str | None = None
    score: int | None = None
    content_hash: bytes | None = None
    reason: str | None = None
    decision: str | None = None
    rejection: str | None = None
    lines: str | None = None

    @property
    def conversation_id(self) -> str:
        """The id, in the dataset, of the conversation it holds."""
        return conversation_id(draw_key(self.cell, self.draw), self.fingerprint.hex() if self.fingerprint else "")
