"""Signatures of conversations beside others in one ledger that they are not compared with."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ledger.made import CENT, cell, completion, intent
from sqlalchemy import update

from convoforge.dataset.near_duplicates import sign_conversations
from convoforge.ledger import Ledger
from convoforge.ledger.attempts import AnswerRow, finish_attempts, start_attempts
from convoforge.ledger.owners import Owner
from convoforge.ledger.requests import claim, read_draws, register_draws
from convoforge.ledger.runs import ensure_dataset
from convoforge.ledger.signatures import list_unsigned, read_near_pairs
from convoforge.ledger.tables import signatures

NOW = datetime(2026, 11, 27, tzinfo=UTC)
TEXT = " ".join(f"word{number}" for number in range(40))


def hold(ledger: Ledger, dataset: int, owner: Owner, number: int) -> None:
    """An answer of one cell, with the same text as all others."""
    ledger.write(register_draws, dataset, [(cell(number), 0)])
    request = max(draw.request_id for draw in ledger.read(read_draws, dataset))
    ledger.write(claim, owner.id, [request], NOW)
    sent = intent(request, dataset, owner)
    turns = f'[["user","{TEXT}"],["assistant","b"]]'
    answer = AnswerRow(f"{number:024x}", 64 * "5", "ok", turns, None, None, None, "1/x", None, temperature_applied=False)
    ledger.write(start_attempts, [sent])
    ledger.write(finish_attempts, [completion(sent, cost=CENT, answer=answer)])


@pytest.mark.timeout(30)
def test_what_was_only_simulated_or_signed_by_another_release_keeps_nobody_waiting(
    ledger: Ledger, dataset: int, owner: Owner
) -> None:
    simulated = ledger.write(ensure_dataset, "advice", "simulator", NOW)
    hold(ledger, simulated, owner, 1)
    assert sign_conversations(ledger, [simulated], "simulator") == 1
    hold(ledger, dataset, owner, 2)
    assert sign_conversations(ledger, [dataset], "anthropic") == 1
    ledger.write(lambda connection: connection.execute(update(signatures).values(version=0)))
    hold(ledger, dataset, owner, 3)
    assert sign_conversations(ledger, [dataset], "anthropic") == 2
    assert not ledger.read(list_unsigned, [dataset])
    assert len(ledger.read(read_near_pairs, dataset, 0.9)) == 2, "each resembles the other, and not what was simulated"
