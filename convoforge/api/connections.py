"""Bounded connections: deadlines for sending the request, reading the response and closing, and a maximum number of connections.

Uvicorn times out idle connections only. A client that sends half a request, or never reads its response, could hold a descriptor
forever and keep the server from stopping.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
from collections import Counter
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from convoforge.api.bodies import ErrorBody, Failure
from convoforge.api.headers import SECURITY_HEADERS

LINGER_SECONDS = 5.0
"""Seconds that a closing connection has to receive what was written to it."""

QUIET_SECONDS = 10.0
"""Minimum seconds between two log lines with the same message."""

SPARE_DESCRIPTORS = 64
"""Number of descriptors reserved for the ledger, logs and other files."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Maximum seconds for a request's headers, its body, and for the client to read more of a response; maximum connections."""

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    read_seconds: float = 30.0
    connections: int = 2_000


class Complaints:
    """Log messages that may occur a thousand times a second: each is written at most once in `QUIET_SECONDS`, with its count."""

    def __init__(self) -> None:
        self._written: dict[str, float] = {}
        self._counts: Counter[str] = Counter()

    def add(self, message: str, now: float, level: int = logging.WARNING, error: Exception | None = None) -> None:
        """Write the message, or count it for the next line. `now` is in seconds of the event loop."""
        self._counts[message] += 1
        if now - self._written.get(message, float("-inf")) >= QUIET_SECONDS:
            _LOG.log(level, "%s (%d times)", message, self._counts.pop(message), exc_info=error)
            self._written[message] = now


def http_protocol(deadlines: Deadlines) -> type[H11Protocol]:
    """Make the protocol class for uvicorn, with these deadlines."""
    complaints = Complaints()

    class Bounded(BoundedProtocol):
        pass

    Bounded.deadlines = deadlines
    Bounded.complaints = complaints
    return Bounded


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 within `deadlines`. A connection above the maximum number is answered with 503 and closed."""

    deadlines: Deadlines
    complaints: Complaints

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._phase: object = None
        self._alarm: asyncio.TimerHandle | None = None
        self._read_alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it: of a stream
        super().connection_made(transport)
        if len(self.connections) > self.deadlines.connections:
            self.complaints.add(
                f"more than {self.deadlines.connections} connections at once: one is turned away", self.loop.time()
            )
            self._answer(503, "TooManyConnections", "there are too many connections: come back later")
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch()

    def eof_received(self) -> None:
        # asyncio closes the connection now: an incomplete request stays incomplete, and nobody reads a response
        return

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._end()
        else:
            self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._read_alarm = self.loop.call_later(self.deadlines.read_seconds, self._give_up_on_reader)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._read_alarm is not None:
            self._read_alarm.cancel()
            self._read_alarm = None

    def shutdown(self) -> None:
        """Take no new requests, and close the connection if its request has not fully arrived."""
        super().shutdown()
        if self._is_arriving():
            self._disconnect()
        if self.transport.is_closing():
            self._end()

    def send_400_response(self, msg: str) -> None:
        self._answer(400, "ValidationError", "this is not an HTTP request")

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._end()

    def _is_arriving(self) -> bool:
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _watch(self) -> None:
        """Set the timer for the part of the request that the client has to send next."""
        phase = (self.conn.their_state, self.cycle)
        if phase == self._phase:
            return
        self._phase = phase
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._is_arriving() and not self.transport.is_closing():
            in_body = self.conn.their_state is h11.SEND_BODY
            seconds = self.deadlines.body_seconds if in_body else self.deadlines.head_seconds
            self._alarm = self.loop.call_later(seconds, self._time_out)

    def _stop_watching(self) -> None:
        for alarm in (self._alarm, self._read_alarm):
            if alarm is not None:
                alarm.cancel()
        self._alarm = self._read_alarm = None

    def _time_out(self) -> None:
        answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if answering or not self._has_begun():
            self._disconnect()
            return
        what = "body" if self.conn.their_state is h11.SEND_BODY else "headers"
        self._answer(408, "RequestTimeout", f"the request's {what} did not arrive in time")

    def _has_begun(self) -> bool:
        """Whether part of a request has arrived. A client that sent nothing gets no response."""
        return self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])

    def _answer(self, status: int, name: str, message: str) -> None:
        """Send an error and close the connection. The request's handler sees a disconnected caller."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(Failure(error=ErrorBody(type=name, message=message)).model_dump()).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
                *((name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()),
                *([(b"retry-after", b"5")] if status == 503 else []),
            ]
            for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self._disconnect()

    def _disconnect(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._end()

    def _end(self) -> None:
        self._stop_watching()
        self.transport.close()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _give_up_on_reader(self) -> None:
        self._read_alarm = None
        self.transport.abort()


def most_connections(wanted: int, calls: int) -> int:
    """Number of connections, at most `wanted`, that the process can hold besides `calls` to the API. Raises its limit on open
    files if necessary and allowed."""
    needed = wanted + calls + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            return max(8, min(wanted, (soft - SPARE_DESCRIPTORS) // 2))
    return wanted
