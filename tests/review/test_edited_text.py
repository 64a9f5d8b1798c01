"""What is said of a published row is said of its edited text: its personal data, its flags, and what it resembles."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from review.conftest import NOW, long, make
from sqlalchemy import select

from convoforge.dataset.release import publish_dataset
from convoforge.dataset.status import score_dataset
from convoforge.ledger.tables import near_pairs
from convoforge.review.deciding import decide, undo

PHONE = "(212) 736-5000"


def test_an_edit_is_redacted_as_everything_is(tmp_path: Path) -> None:
    with make(f"sqlite:///{tmp_path / 'l.db'}", [long(1), long(2)], quality={"filters": [{"pii": "redact"}]}) as reviewed:
        turns = [{"role": role, "content": text} for role, text in long(1)]
        turns[0]["content"] = f"Call me at {PHONE} about the bond, please, I am nervous about it and it has been a long week."
        decide(reviewed.ledger, reviewed.names[0], "edit", "Ada", now=NOW, turns=turns)
        published, _ = publish_dataset(
            reviewed.ledger, reviewed.plan, reviewed.dataset, tmp_path / "data", stale=0, now=lambda: NOW
        )
        rows = pl.read_parquet(f"{published.path}/data/*.parquet").to_dicts()
        [row] = [one for one in rows if "edited" in one["flags"]]
        assert sorted(row["flags"]) == ["edited", "pii"]
        assert row["messages"][0]["content"].startswith("Call me at ") and PHONE not in str(rows)


def test_what_an_edit_resembles_is_found_anew(tmp_path: Path) -> None:
    with make(f"sqlite:///{tmp_path / 'l.db'}", [long(1), long(22)], quality={"filters": []}) as reviewed:
        ledger = reviewed.ledger

        def pairs() -> int:
            score_dataset(ledger, reviewed.plan, reviewed.dataset)
            return len(ledger.read(lambda connection: connection.execute(select(near_pairs)).all()))

        before = pairs()
        other = [{"role": role, "content": f"{text} I see {n} of it."} for n, (role, text) in enumerate(long(1))]
        apart = [
            {"role": role, "content": f"{n} sheep went over hill {n} to {text[:9]}"} for n, (role, text) in enumerate(long(1))
        ]
        decide(ledger, reviewed.names[1], "edit", "Ada", now=NOW, turns=other if not before else apart)
        assert pairs() == 1 - before
        undo(ledger, reviewed.names[1], "Ada", now=NOW)
        assert pairs() == before
