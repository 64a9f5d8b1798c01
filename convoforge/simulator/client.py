"""A running simulator from outside: script its faults, read its usage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener


@dataclass(frozen=True, slots=True)
class SimulatorControl:
    """The simulator at `url`, as `simulator_process` yields it. Every method raises `OSError` where none answers there."""

    url: str

    def script(self, *faults: str | dict[str, Any], match: str | None = None, on: str | None = None) -> None:
        """The next requests (whose prompt holds `match`) meet these faults: kinds, or objects like `{"kind": "429", "retry_after": 2}`.

        Requests in message batches meet them when they are processed. With `on` (`batch_create`, `batch_retrieve`, `batch_list`,
        `batch_results`) the next such calls meet them instead.
        """
        self._call("script", {"faults": faults, "match": match, "on": on})

    def forget(self) -> None:
        """Forget the faults that nothing has met yet."""
        self._call("script", {"faults": [], "clear": True})

    def usage(self) -> dict[str, Any]:
        """`requests`, `outcomes` by word, `billed_delivered` and `billed_undelivered`: requests and tokens, in all and by model.

        These count online requests only; `batch` holds the same four for requests in message batches.
        """
        return self._call("usage")

    def rows(self) -> list[dict[str, Any]]:
        """Every request in order of arrival: ids, times, status, outcome, key fingerprint, usage, and its message batch."""
        rows: list[dict[str, Any]] = self._call("usage?requests=1")["rows"]
        return rows

    def set_usage_fields(self, **fields: Any) -> None:
        """Fields that the usage of each answer has from now on, or replaces: `inference_geo="us"`."""
        self._call("usage-fields", fields)

    def set_model_fields(self, model: str, **fields: Any) -> None:
        """Fields that `GET /v1/models/{id}` replaces from now on for a model: `lifecycle="retired"`."""
        self._call(f"models/{model}", fields)

    def reset(self) -> None:
        """Forget everything, as if just started."""
        self._call("reset", {})

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = Request(f"{self.url}/_simulator/{path}", None if body is None else json.dumps(body).encode())
        with build_opener(ProxyHandler({})).open(request, timeout=30) as response:  # never by way of a proxy
            answer: dict[str, Any] = json.load(response)
            return answer
