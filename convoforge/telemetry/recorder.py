"""What OpenTelemetry is told. Its providers are ours alone: nobody else's spans, such as Prefect's, become part of our traces."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from importlib.metadata import version
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.util.types import AttributeValue

from convoforge.ledger.attempts import Completion
from convoforge.settings import Api, Settings

DELIVERY_SECONDS = 5.0
"""Maximum seconds for a collector to take what is sent."""

FLUSH_SECONDS = 2.0
"""Maximum seconds that a run waits at its end for its collector."""

_LOG = logging.getLogger(__name__)

PROVIDERS: Mapping[Api, str] = {"anthropic": "anthropic", "aws": "anthropic", "bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai"}
"""Who sells Claude, as the conventions call them; others go by their own name."""

DURATIONS = [0.01 * 2**n for n in range(14)]
"""Bounds of the histogram of durations, in seconds, as the conventions have them."""

_NOWHERE = Context()
"""No parent: neither ours nor what Prefect may have made current."""

_RUN: ContextVar[str | None] = ContextVar("convoforge_traced_run", default=None)
_PARENT: ContextVar[Span | None] = ContextVar("convoforge_span", default=None)


class _RunIds(RandomIdGenerator):
    """The trace of a run has the run's id, in all its processes."""

    def generate_trace_id(self) -> int:
        run_id = _RUN.get()
        return int(run_id, 16) if run_id else super().generate_trace_id()


class _Complaint(logging.Handler):
    """Says once what OpenTelemetry says of a collector at each attempt."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger("opentelemetry").removeHandler(self)
        _LOG.warning("the OpenTelemetry collector takes nothing (%s): what it should get is dropped", record.getMessage()[:200])


class Recorder:
    """Records spans and metrics, and hands them to the collector in threads of its own. Full queues drop, nobody waits."""

    def __init__(self, settings: Settings) -> None:
        theirs = logging.getLogger("opentelemetry")
        theirs.handlers, theirs.propagate = [logging.NullHandler(), _Complaint(logging.WARNING)], False
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "convoforge"}
        resource = Resource.create({**named, "service.version": version("convoforge")})
        self._spans = BatchSpanProcessor(OTLPSpanExporter(timeout=DELIVERY_SECONDS))
        tracers = TracerProvider(resource=resource, id_generator=_RunIds(), shutdown_on_exit=False)
        tracers.add_span_processor(self._spans)
        self._reader = PeriodicExportingMetricReader(OTLPMetricExporter(timeout=DELIVERY_SECONDS))
        meters = MeterProvider([self._reader], resource=resource, shutdown_on_exit=False)
        self._tracer, meter = tracers.get_tracer("convoforge"), meters.get_meter("convoforge")
        usage = "gen_ai.client.inference.usage"
        self._tokens = {
            name: meter.create_counter(f"{usage}.{name}", "{token}")
            for name in (
                "input_tokens",
                "output_tokens",
                "cache_read.input_tokens",
                "cache_write.input_tokens",
                "reasoning.output_tokens",
            )
        }
        self._duration = meter.create_histogram(
            "gen_ai.client.inference.duration", "s", explicit_bucket_boundaries_advisory=DURATIONS
        )
        self._cost = meter.create_counter("convoforge.cost", "{USD}", "What calls have cost; simulated ones are told apart.")
        where = urlsplit(settings.api_root)
        self._common: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDERS.get(settings.api, settings.api),
        }
        self._address: dict[str, AttributeValue] = {}
        if settings.api == "anthropic" and where.hostname:
            self._address = {
                "server.address": where.hostname,
                "server.port": where.port or (443 if where.scheme == "https" else 80),
            }

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, AttributeValue], run_id: str | None = None) -> Iterator[None]:
        """A span around what is done inside; with `run_id`, the first of the run's trace in this process."""
        parent = _PARENT.get()
        within = _RUN.set(run_id) if run_id else None
        span = self._tracer.start_span(
            name, set_span_in_context(parent) if parent and not run_id else _NOWHERE, attributes=attributes
        )
        if within is not None:
            _RUN.reset(within)
        outer = _PARENT.set(span)
        try:
            yield
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            _PARENT.reset(outer)
            span.end()

    def record(self, done: Completion) -> None:
        """A call to the API that has ended: a span of its own time, tokens, duration, cost."""
        intent, usage = done.intent, done.usage
        simulated = intent.provider == "simulator"
        common = {
            **self._common,
            **({} if simulated else self._address),  # a simulator is somewhere else
            "gen_ai.request.model": intent.model,
            "convoforge.simulated": simulated,
        }
        cached, written = usage.cache_read_tokens, usage.cache_write_tokens
        read = usage.input_tokens + cached + written
        span: dict[str, AttributeValue] = {
            **common,
            "convoforge.run.id": intent.run_id,
            "convoforge.request.id": intent.request_id,
            "convoforge.attempt": intent.attempt,
            "convoforge.purpose": intent.purpose,
            "convoforge.cost_usd": done.cost_pico / 1e12,
            "gen_ai.usage.input_tokens": read,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": cached,
            "gen_ai.usage.cache_write.input_tokens": written,
            "gen_ai.usage.reasoning.output_tokens": usage.thinking_tokens,
        }
        failed = {"error.type": done.error_kind or f"{done.http_status or '_OTHER'}"} if done.status != "succeeded" else {}
        answered = {"gen_ai.response.model": done.answered_model or intent.model} if not failed else {}
        if intent.purpose == "conversation":
            span["gen_ai.prompt.name"] = intent.template
            if done.answer is not None:
                span["gen_ai.prompt.version"] = done.answer.template_version
        else:  # a judge has a prompt of its own
            span["convoforge.template"] = intent.template
        if done.api_request_id:
            span["convoforge.api_request_id"] = done.api_request_id
        if done.http_status:
            span["http.response.status_code"] = done.http_status
        if done.stop_reason:
            span["gen_ai.response.finish_reasons"] = (done.stop_reason,)
        parent = _PARENT.get()
        attempt = self._tracer.start_span(
            f"chat {intent.model}",
            set_span_in_context(parent) if parent else _NOWHERE,
            kind=SpanKind.CLIENT,
            attributes={**span, **answered, **failed},
            start_time=_nanoseconds(intent.started_at),
        )
        if failed:
            attempt.set_status(Status(StatusCode.ERROR))
        attempt.end(_nanoseconds(done.finished_at))
        counted = {**common, **answered, "gen_ai.token.modality": "text" if done.usage_known and not failed else "unknown"}
        counts = (read, usage.output_tokens, cached, written, usage.thinking_tokens)
        for counter, count in zip(self._tokens.values(), counts, strict=True):
            counter.add(count, counted)
        self._duration.record(done.latency_ms / 1000, {**common, **answered, **failed})
        self._cost.add(done.cost_pico / 1e12, common)

    def flush(self) -> None:
        """Deliver what is recorded. A collector that does not take it in time does not get it."""
        threads = [threading.Thread(target=one, daemon=True) for one in (self._spans.force_flush, self._reader.force_flush)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + FLUSH_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1e9)
