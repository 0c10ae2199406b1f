"""The figures of a server, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from paragone import Embeddings
from paragone_workbench.serving.protocol.parts import End
from paragone_workbench.serving.served_engine import ServedEngines

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Figures:
    """Counts requests and tokens from the start of the server on."""

    def __init__(self, engines: ServedEngines) -> None:
        # Export no times at which each combination of labels first occurred.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "paragone_requests", "Requests, by path and status.", ["path", "status"], registry=registry
        )
        self._prompt = Counter("paragone_prompt_tokens", "Tokens of prompts.", ["model"], registry=registry)
        self._completion = Counter(
            "paragone_completion_tokens", "Tokens of answers.", ["model"], registry=registry
        )
        self._ttft = Histogram(
            "paragone_time_to_first_token_seconds",
            "Seconds from sending a request to the engine to its first token.",
            ["model"],
            registry=registry,
        )
        registry.register(_EngineStates(engines))

    def requested(self, path: str, status: int) -> None:
        """Count a request that is answered. Status 499: the client left before its response."""
        self._requests.labels(path, str(status)).inc()

    def answered(self, model: str, end: End) -> None:
        """Count an answer that has ended."""
        self._prompt.labels(model).inc(end.prompt_tokens)
        self._completion.labels(model).inc(end.completion_tokens)
        if end.ttft_s is not None:
            self._ttft.labels(model).observe(end.ttft_s)

    def embedded(self, model: str, found: Embeddings) -> None:
        """Count the tokens of texts whose embeddings were computed."""
        self._prompt.labels(model).inc(found.prompt_tokens or 0)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineStates(Collector):
    """The present state of the engines."""

    def __init__(self, engines: ServedEngines) -> None:
        self._engines = engines

    def collect(self) -> Iterator[GaugeMetricFamily]:
        is_open = GaugeMetricFamily("paragone_engine_open", "Whether the engine is open.", labels=["model"])
        computing = GaugeMetricFamily("paragone_answers_computing", "Answers computed now.", labels=["model"])
        waiting = GaugeMetricFamily("paragone_answers_waiting", "Answers that wait.", labels=["model"])
        silent = GaugeMetricFamily(
            "paragone_engine_silent_seconds", "Seconds for which an answer has got no data.", labels=["model"]
        )
        for engine in self._engines.all:
            silent.add_metric([engine.name], engine.silent_s)
            is_open.add_metric([engine.name], float(engine.is_open))
            computing.add_metric([engine.name], engine.computing)
            waiting.add_metric([engine.name], engine.waiting)
        return iter((is_open, computing, waiting, silent))
