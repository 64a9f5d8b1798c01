"""A relay to a simulator whose answers look like the API's own, so that what they make counts as real: `python posing.py HOST PORT URL`."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from convoforge.simulator.wire import SIGNATURE

OWN = ("transfer-encoding", "content-length", "connection", SIGNATURE.lower())


def make_relay(host: str, port: int, simulator: str) -> ThreadingHTTPServer:
    """A server that passes each request on to `simulator`, and its answer back without the simulator's signature."""

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))) or None
            sent = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "accept-encoding")}
            try:
                answer = urllib.request.urlopen(
                    urllib.request.Request(f"{simulator}{self.path}", body, sent, method=self.command)
                )
            except urllib.error.HTTPError as error:
                answer = error
            said = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in OWN:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer((host, port), Relay)


@contextmanager
def posing_as_the_api(simulator: str) -> Iterator[str]:
    """The address of a relay in this process."""
    server = make_relay("127.0.0.1", 0, simulator)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    make_relay(sys.argv[1], int(sys.argv[2]), sys.argv[3]).serve_forever()
