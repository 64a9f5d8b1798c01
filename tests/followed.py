"""A run in a ledger that goes on as long as a test wants: its owner is this process."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from recorded import Dataset
from sqlalchemy import insert, update

from convoforge.ledger import Ledger
from convoforge.ledger.owners import make_owner, register
from convoforge.ledger.runs import close_run, keep_report, note_run
from convoforge.ledger.tables import generation_logs, runs
from convoforge.planning.spec import DatasetSpec
from convoforge.runs.known import RunNote

SPEC = DatasetSpec.model_validate(
    {
        "name": "goats",
        "model": "claude-sonnet-5-5",
        "templates": ["advice"],
        "axes": {"persona": ["A goatherd"], "emotion": ["calm", "cross"], "topic": ["cheese", "<script>alert(1)</script>"]},
        "budget": {"run_usd": 2},
        "limits": {"max_requests": 50, "window_seconds": 60},
    }
)


@dataclass
class GoingRun:
    """A run of `goats`, of whose four draws some were answered."""

    ledger: Ledger
    id: str

    @classmethod
    def begin(cls, ledger: Ledger, answered: int = 2) -> GoingRun:
        dataset = Dataset(ledger, "simulator")
        dataset.runs = 77  # another than those that a ledger may hold already
        dataset.build(SPEC, limit=answered)
        mine = generation_logs.c.run_id == "simulator78"
        run_id, owner = uuid.uuid4().hex, make_owner()
        ledger.write(register, owner, datetime.now(UTC))
        alive = {"id": run_id, "owner": owner.id, "state": "running", "started_at": datetime.now(UTC) - timedelta(seconds=90)}
        ledger.write(lambda connection: connection.execute(update(runs).where(runs.c.id == "simulator78").values(alive)) and None)
        ledger.write(lambda connection: connection.execute(update(generation_logs).where(mine).values(run_id=run_id)) and None)
        ledger.write(keep_report, run_id, {"estimated_cost_usd": "0.040000"})
        return cls(ledger, run_id)

    def note(self, waiting: str = "", queue: int = 0, left: float | None = 75.0, at: datetime | None = None) -> None:
        """What its process says."""
        said = RunNote(
            at=at or datetime.now(UTC),
            stage="generating",
            waiting=waiting,
            accepted=2,
            queue=queue,
            used=2,
            allowed=40,
            seconds_left=left,
        )
        self.ledger.write(note_run, self.id, said.model_dump_json())

    def fail(self, error: str, request: int = 1) -> None:
        """A call that failed, and was made again."""
        now = datetime.now(UTC)
        row = {"request_id": request, "attempt": 9, "run_id": self.id, "dataset_id": 1, "owner": "o", "provider": "simulator"}
        row |= {
            "model": SPEC.model,
            "template": "advice",
            "status": "failed",
            "billing": "none",
            "error": error,
            "started_at": now,
        }
        self.ledger.write(lambda connection: connection.execute(insert(generation_logs), row) and None)

    def end(self, state: str = "completed") -> None:
        report = {"cost_usd": "0.02", "generated": 2, "version": 1, "published": True}
        self.ledger.write(close_run, self.id, state, "all 2 accepted", report, datetime.now(UTC))
