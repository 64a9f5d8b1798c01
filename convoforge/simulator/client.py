"""Controls a running simulator over HTTP: scripts its faults, reads its usage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener


@dataclass(frozen=True, slots=True)
class SimulatorControl:
    """The simulator at `url`, as `simulator_process` yields it. Every method raises `OSError` if none answers there."""

    url: str

    def script(self, *faults: str | dict[str, Any], match: str | None = None, on: str | None = None) -> None:
        """Script faults for the next requests (whose prompt contains `match`): kinds, or objects like
        `{"kind": "429", "retry_after": 2}`.

        Requests in message batches get them when they are processed. With `on` (`batch_create`, `batch_retrieve`, `batch_list`,
        `batch_results`) the next such calls get them instead.
        """
        self._call("script", {"faults": faults, "match": match, "on": on})

    def forget(self) -> None:
        """Drop the scripted faults that are still pending."""
        self._call("script", {"faults": [], "clear": True})

    def usage(self) -> dict[str, Any]:
        """Read `requests`, `outcomes` by name, `billed_delivered` and `billed_undelivered`: requests and tokens, also by model.

        These count online requests only; `batch` holds the same four for requests in message batches.
        """
        return self._call("usage")

    def rows(self) -> list[dict[str, Any]]:
        """Read every request in order of arrival: ids, times, status, outcome, key fingerprint, usage, and its message batch."""
        rows: list[dict[str, Any]] = self._call("usage?requests=1")["rows"]
        return rows

    def set_usage_fields(self, **fields: Any) -> None:
        """Add or replace fields in the usage of each answer from now on: `inference_geo="us"`."""
        self._call("usage-fields", fields)

    def set_model_fields(self, model: str, **fields: Any) -> None:
        """Replace fields in `GET /v1/models/{id}` from now on: `lifecycle="retired"`."""
        self._call(f"models/{model}", fields)

    def reset(self) -> None:
        """Reset the simulator to the state after its start."""
        self._call("reset", {})

    def _call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = Request(f"{self.url}/_simulator/{path}", None if body is None else json.dumps(body).encode())
        with build_opener(ProxyHandler({})).open(request, timeout=30) as response:  # never through a proxy
            answer: dict[str, Any] = json.load(response)
            return answer
