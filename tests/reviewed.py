"""What tests look at after a review."""

from __future__ import annotations

from convoforge.ledger import Ledger
from convoforge.ledger.answers import read_conversation
from convoforge.ledger.reviews import find_answer
from convoforge.models import Conversation
from convoforge.review.deciding import find_edit, read_reviews


def read_current(ledger: Ledger, conversation_id: str) -> tuple[Conversation, Conversation]:
    """A conversation as the model wrote it, and as it would be published today."""
    answer, edit = ledger.read(find_answer, conversation_id), find_edit(read_reviews(ledger, conversation_id))
    assert answer and answer.turns
    original = read_conversation(answer.turns, answer.system)
    return original, Conversation(edit.turns, answer.system) if edit and edit.turns else original
