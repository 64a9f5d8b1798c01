"""What arrived, what became of it, and what was billed: the other side's books, for comparison with ours."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from convoforge.models import Usage

TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
    "thinking_tokens",
)
IN_FLIGHT = "in flight"
UNBILLED, DELIVERED, UNDELIVERED = range(3)


class Names:
    """Texts as small numbers."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self._numbers = {text: number for number, text in enumerate(texts)}

    def number(self, text: str) -> int:
        """The number of a text, new where it has none."""
        if text not in self._numbers:
            self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return self._numbers[text]


class Books:
    """One row for each request to `/v1/messages`, in 44 bytes, and for each one in a batch. Totals are sums over the rows.

    `run` tells the request ids of this simulator from those of another; `epoch` is what to add to a time of arrival (seconds on a
    steady clock) for the time of day.
    """

    def __init__(self, run: str, epoch: float) -> None:
        self._run = run
        self._epoch = epoch
        self._outcomes, self._models, self._keys = Names(IN_FLIGHT), Names(""), Names("")
        self._arrived = array("d")
        self._status, self._outcome, self._key = array("H"), array("H"), array("H")
        self._model, self._billed = array("B"), array("B")
        self._tokens = array("I")
        self._batch = array("I")
        self._batches: list[tuple[str, int, Sequence[str]]] = [("", 0, ())]

    def arrive(self, now: float, key: str) -> int:
        """The row of a request that arrived, with the fingerprint of its key."""
        self._arrived.append(now)
        self._key.append(self._keys.number(key))
        for column in (self._status, self._outcome, self._model, self._billed, self._batch):
            column.append(0)
        self._tokens.extend([0] * len(TOKENS))
        return len(self._arrived) - 1

    def arrive_together(self, now: float, key: str, batch_id: str, custom_ids: Sequence[str]) -> range:
        """The rows of a batch's requests, in the order of their `custom_ids`."""
        first, count = len(self._arrived), len(custom_ids)
        self._batches.append((batch_id, first, custom_ids))
        self._arrived.extend([now] * count)
        self._key.extend([self._keys.number(key)] * count)
        self._batch.extend([len(self._batches) - 1] * count)
        for column in (self._status, self._outcome, self._model, self._billed):
            column.extend([0] * count)
        self._tokens.extend([0] * len(TOKENS) * count)
        return range(first, first + count)

    def request_id(self, row: int) -> str:
        """The id of the request in this row."""
        return f"req_sim_{self._run}{row:08x}"

    def message_id(self, row: int) -> str:
        """The id of the message that answers the request in this row."""
        return f"msg_sim_{self._run}{row:08x}"

    def settle(self, row: int, status: int, outcome: str) -> None:
        """What became of a request: the HTTP status (0 where none was sent), and in a word what happened."""
        self._status[row] = status
        self._outcome[row] = self._outcomes.number(outcome)

    def bill(self, row: int, model: str, usage: Usage, *, delivered: bool) -> None:
        """Charge an answer, whether or not it reached the client."""
        self._model[row] = self._models.number(model)
        self._billed[row] = DELIVERED if delivered else UNDELIVERED
        self._tokens[self._place(row)] = array(
            "I",
            (
                usage.input_tokens,
                usage.output_tokens,
                usage.cache_read_tokens,
                usage.cache_write_5m_tokens,
                usage.cache_write_1h_tokens,
                usage.thinking_tokens,
            ),
        )

    @staticmethod
    def _place(row: int) -> slice:
        return slice(len(TOKENS) * row, len(TOKENS) * (row + 1))

    def deliver(self, row: int) -> None:
        """An answer that was charged has been handed over."""
        if self._billed[row] == UNDELIVERED:
            self._billed[row] = DELIVERED

    def totals(self) -> dict[str, Any]:
        """`requests`, `outcomes` by word, and what was billed, `billed_delivered` and `billed_undelivered`, in all and by model.

        These are of ONLINE requests only. `batch` holds the same four for the requests in batches, which cost half: so each side can
        be priced as it stands, and nothing is counted on both.
        """
        return {**self._totals(batched=False), "batch": self._totals(batched=True)}

    def rows(self) -> list[dict[str, Any]]:
        """Every request, in order of arrival. `message_id` is None where nothing was billed; `batch_id` and `custom_id` are online."""
        return [
            {
                "request_id": self.request_id(row),
                "arrived_monotonic": arrived,
                "arrived_at": arrived + self._epoch,
                "status": self._status[row],
                "outcome": self._outcomes.texts[self._outcome[row]],
                "key": self._keys.texts[self._key[row]],
                "model": self._models.texts[self._model[row]],
                "billed": self._billed[row] != UNBILLED,
                "delivered": self._billed[row] == DELIVERED,
                "usage": self._usage(self._tokens[self._place(row)]),
                "message_id": self.message_id(row) if self._billed[row] != UNBILLED else None,
                **self._membership(row),
            }
            for row, arrived in enumerate(self._arrived)
        ]

    def _membership(self, row: int) -> dict[str, str | None]:
        batch_id, first, custom_ids = self._batches[self._batch[row]]
        return {"batch_id": batch_id, "custom_id": custom_ids[row - first]} if batch_id else {"batch_id": None, "custom_id": None}

    def _totals(self, *, batched: bool) -> dict[str, Any]:
        rows = [row for row, batch in enumerate(self._batch) if bool(batch) == batched]
        return {
            "requests": len(rows),
            "outcomes": dict(Counter(self._outcomes.texts[self._outcome[row]] for row in rows)),
            "billed_delivered": self._sum(rows, DELIVERED),
            "billed_undelivered": self._sum(rows, UNDELIVERED),
        }

    def _sum(self, rows: Iterable[int], billed: int) -> dict[str, Any]:
        sums: dict[str, list[int]] = {}
        for row in rows:
            if self._billed[row] == billed:
                total = sums.setdefault(self._models.texts[self._model[row]], [0] * (1 + len(TOKENS)))
                total[0] += 1
                for at, tokens in enumerate(self._tokens[self._place(row)], start=1):
                    total[at] += tokens
        whole = [sum(column) for column in zip(*sums.values(), strict=True)] or [0] * (1 + len(TOKENS))
        return {**self._line(whole), "models": {model: self._line(total) for model, total in sums.items()}}

    def _line(self, total: list[int]) -> dict[str, int]:
        return {"requests": total[0], **self._usage(total[1:])}

    @staticmethod
    def _usage(counts: Any) -> dict[str, int]:
        return {**dict(zip(TOKENS, counts, strict=True)), "cache_creation_input_tokens": counts[3] + counts[4]}
