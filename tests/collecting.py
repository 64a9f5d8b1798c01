"""A tiny OpenTelemetry collector on loopback: it keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass
class Collector:
    """Spans by their name, metric points by the name of their metric; attributes as plain values. `raw` is all that came."""

    url: str = ""
    spans: list[dict[str, Any]] = field(default_factory=list)
    points: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    raw: bytes = b""

    def named(self, begins: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"].startswith(begins)]

    def take(self, path: str, body: bytes) -> None:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.raw += body
        if path == "/v1/traces":
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = read(of_resource.resource.attributes)["service.name"]
                for scope in of_resource.scope_spans:
                    for span in scope.spans:
                        ids = {"id": span.span_id.hex(), "parent": span.parent_span_id.hex(), "trace": span.trace_id.hex()}
                        times = {"seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9}
                        more = {"kind": span.kind, "status": span.status.code, "service": service, **times}
                        self.spans.append({"name": span.name, **ids, **more, "attributes": read(span.attributes)})
        for of_resource in ExportMetricsServiceRequest.FromString(body).resource_metrics if path == "/v1/metrics" else ():
            for scope in of_resource.scope_metrics:
                for metric in scope.metrics:
                    kind = getattr(metric, metric.WhichOneof("data"))
                    self.points[metric.name] = [
                        {"attributes": read(point.attributes), "value": value_of(point), "unit": metric.unit}
                        for point in kind.data_points
                    ]


def value_of(point: Any) -> float:
    return point.count if hasattr(point, "count") else getattr(point, point.WhichOneof("value"))


def read(attributes: Any) -> dict[str, Any]:
    found = {}
    for one in attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


@contextmanager
def collector() -> Iterator[Collector]:
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.take(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield kept
        server.shutdown()
