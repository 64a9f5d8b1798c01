"""The server's record of requests, outcomes and bills, to compare with the client's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from convoforge.models import Usage

IN_FLIGHT = "in flight"


@dataclass(slots=True)
class UsageRow:
    """One request: `arrived` in seconds on a monotonic clock, `status` 0 until one is sent, `usage` None until it is billed."""

    number: int
    arrived: float
    key: str
    batch_id: str | None = None
    custom_id: str | None = None
    status: int = 0
    outcome: str = IN_FLIGHT
    model: str = ""
    usage: Usage | None = None
    delivered: bool = False

    def settle(self, status: int, outcome: str) -> None:
        """Record how the request ended: the HTTP status (0 if none was sent) and the outcome in one word."""
        self.status, self.outcome = status, outcome

    def bill(self, model: str, usage: Usage, *, delivered: bool) -> None:
        """Bill an answer, whether or not it reached the client."""
        self.model, self.usage, self.delivered = model, usage, delivered


class UsageLog:
    """One row for each request to `/v1/messages`, and for each one in a message batch.

    `run` is part of the ids, so that they differ from another simulator's. `arrived` + `epoch` is in seconds since 1970.
    """

    def __init__(self, run: str, epoch: float) -> None:
        self._run = run
        self._epoch = epoch
        self._rows: list[UsageRow] = []

    def add(self, now: float, key: str, batch_id: str | None = None, custom_id: str | None = None) -> UsageRow:
        """Add a row for a request that arrived; `key` is the fingerprint of its key."""
        row = UsageRow(len(self._rows), now, key, batch_id, custom_id)
        self._rows.append(row)
        return row

    def request_id(self, row: UsageRow) -> str:
        return f"req_sim_{self._run}{row.number:08x}"

    def message_id(self, row: UsageRow) -> str:
        """The id of the message that answers the request in this row."""
        return f"msg_sim_{self._run}{row.number:08x}"

    def totals(self) -> dict[str, Any]:
        """Totals: `requests`, `outcomes` by name, `billed_delivered` and `billed_undelivered` in total and by model.

        These count online requests only. `batch` holds the same four for requests in message batches, which cost half.
        """
        online = _total([row for row in self._rows if row.batch_id is None])
        return {**online, "batch": _total([row for row in self._rows if row.batch_id is not None])}

    def rows(self) -> list[dict[str, Any]]:
        """Every request in order of arrival. `message_id` is None if not billed, `batch_id` and `custom_id` if online."""
        return [
            {
                "request_id": self.request_id(row),
                "arrived_monotonic": row.arrived,
                "arrived_at": row.arrived + self._epoch,
                "status": row.status,
                "outcome": row.outcome,
                "key": row.key,
                "model": row.model,
                "billed": row.usage is not None,
                "delivered": row.delivered,
                "usage": format_usage(row.usage or Usage()),
                "message_id": self.message_id(row) if row.usage else None,
                "batch_id": row.batch_id,
                "custom_id": row.custom_id,
            }
            for row in self._rows
        ]


def format_usage(usage: Usage) -> dict[str, int]:
    """The numbers of tokens under the API's names."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
        "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        "thinking_tokens": usage.thinking_tokens,
    }


def _total(rows: list[UsageRow]) -> dict[str, Any]:
    return {
        "requests": len(rows),
        "outcomes": dict(Counter(row.outcome for row in rows)),
        "billed_delivered": _sum([row for row in rows if row.usage and row.delivered]),
        "billed_undelivered": _sum([row for row in rows if row.usage and not row.delivered]),
    }


def _sum(rows: list[UsageRow]) -> dict[str, Any]:
    def add(rows: list[UsageRow]) -> dict[str, int]:
        return {"requests": len(rows), **format_usage(sum((row.usage for row in rows if row.usage), Usage()))}

    models = dict.fromkeys(row.model for row in rows)
    return {**add(rows), "models": {model: add([row for row in rows if row.model == model]) for model in models}}
