"""What single requests have left in the ledger: conversations, batches, costs. To read them takes no API key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from convoforge.costs.summary import CostSummary, GroupBy, cost_summary
from convoforge.dataset.acceptance import judge_quality
from convoforge.ledger import Ledger
from convoforge.ledger.adhoc_requests import BatchSummary, find_request, read_batches, read_outcome
from convoforge.ledger.runs import find_dataset
from convoforge.models import ConversationRequest, Outcome, Provider
from convoforge.planning.quality import QualityRule
from convoforge.planning.spec import ADHOC, AXES


@dataclass(frozen=True, slots=True)
class KeptRequests:
    """The requests of a provider. `min_score` is for those of datasets that say none."""

    ledger: Ledger
    provider: Provider
    min_score: int = QualityRule().min_score

    async def find(self, name: str, provider: Provider | None = None) -> tuple[ConversationRequest, str, Outcome | None] | None:
        """Find the request with this name or conversation id; returns it with its state in the ledger and its outcome, None before it
        is answered and scored. With `provider`, conversations of its datasets are found as well, as reviews have left them."""
        row = await self.ledger.aread(lambda connection: find_request(connection, self._dataset(connection), name, provider))
        if row is None:
            return None
        min_score = self.min_score if row.min_score is None else row.min_score
        outcome = await self.ledger.aread(
            read_outcome, row.id, lambda quality, decision: judge_quality(quality, min_score, decision)[0]
        )
        if row.request is not None:
            return ConversationRequest.model_validate_json(row.request), row.state, outcome
        values = {axis: getattr(row, axis) for axis in AXES}
        return ConversationRequest(template=row.template, **values), row.state, outcome

    async def batches(self, batch: str | None = None) -> list[BatchSummary]:
        """The newest batches, or the one with this id."""
        return await self.ledger.aread(lambda connection: read_batches(connection, self._dataset(connection), batch=batch))

    async def costs(self, since: datetime | None, until: datetime | None, by: GroupBy | None) -> CostSummary:
        """The costs in a period of everything recorded in this ledger. Raises `ConfigError` for an unknown `by`."""
        return await self.ledger.aread(cost_summary, since, until, by=by, provider=self.provider)

    def _dataset(self, connection: Connection) -> int:
        """The id of the dataset of single requests; 0, which is none, before there was one."""
        row = find_dataset(connection, ADHOC, self.provider)
        return row.id if row else 0
