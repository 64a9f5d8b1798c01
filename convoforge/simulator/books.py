"""What arrived, what became of it, and what was billed: the other side's books, for comparison with ours."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

from convoforge.models import Usage

TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
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
    """One row for each request to `/v1/messages`, in 43 bytes. Totals are sums over the rows.

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

    def arrive(self, now: float, key: str) -> int:
        """The row of a request that arrived, with the fingerprint of its key."""
        self._arrived.append(now)
        self._key.append(self._keys.number(key))
        for column in (self._status, self._outcome, self._model, self._billed):
            column.append(0)
        self._tokens.extend((0, 0, 0, 0, 0))
        return len(self._arrived) - 1

    def request_id(self, row: int) -> str:
        """The id of the request in this row."""
        return f"req_sim_{self._run}{row:08x}"

    def settle(self, row: int, status: int, outcome: str) -> None:
        """What became of a request: the HTTP status (0 where none was sent), and in a word what happened."""
        self._status[row] = status
        self._outcome[row] = self._outcomes.number(outcome)

    def bill(self, row: int, model: str, usage: Usage, *, delivered: bool) -> None:
        """Charge an answer, whether or not it reached the client."""
        self._model[row] = self._models.number(model)
        self._billed[row] = DELIVERED if delivered else UNDELIVERED
        self._tokens[5 * row : 5 * row + 5] = array(
            "I",
            (
                usage.input_tokens,
                usage.output_tokens,
                usage.cache_read_tokens,
                usage.cache_write_5m_tokens,
                usage.cache_write_1h_tokens,
            ),
        )

    def totals(self) -> dict[str, Any]:
        """Requests by outcome; and what was billed, delivered and not, in all and by model."""
        outcomes = Counter(self._outcomes.texts[number] for number in self._outcome)
        return {
            "requests": len(self._arrived),
            "outcomes": dict(outcomes),
            "billed_delivered": self._sum(DELIVERED),
            "billed_undelivered": self._sum(UNDELIVERED),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Every request, in order of arrival."""
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
                "usage": self._usage(self._tokens[5 * row : 5 * row + 5]),
            }
            for row, arrived in enumerate(self._arrived)
        ]

    def _sum(self, billed: int) -> dict[str, Any]:
        sums: dict[str, list[int]] = {}
        for row, how in enumerate(self._billed):
            if how == billed:
                total = sums.setdefault(self._models.texts[self._model[row]], [0] * 6)
                total[0] += 1
                for at in range(5):
                    total[at + 1] += self._tokens[5 * row + at]
        whole = [sum(column) for column in zip(*sums.values(), strict=True)] or [0] * 6
        return {**self._line(whole), "models": {model: self._line(total) for model, total in sums.items()}}

    def _line(self, total: list[int]) -> dict[str, int]:
        return {"requests": total[0], **self._usage(total[1:])}

    @staticmethod
    def _usage(counts: Any) -> dict[str, int]:
        return {**dict(zip(TOKENS, counts, strict=True)), "cache_creation_input_tokens": counts[3] + counts[4]}
