"""The figures of a server, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from paragone import Embeddings
from paragone_workbench.serving.protocol.parts import End
from paragone_workbench.serving.served_engine import ServedEngine, ServedEngines

_STATES: tuple[tuple[str, str, Callable[[ServedEngine], float]], ...] = (
    ("paragone_engine_open", "Whether the engine is open.", lambda engine: engine.is_open),
    ("paragone_answers_computing", "Answers computed now.", lambda engine: engine.computing),
    ("paragone_answers_waiting", "Answers that wait.", lambda engine: engine.waiting),
    (
        "paragone_engine_silent_seconds",
        "Seconds for which an answer has got no data.",
        lambda engine: engine.silent_s,
    ),
)
"""The gauges of each engine: name, description, and the function that reads the present value."""


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
        for name, about, value in _STATES:
            gauge = Gauge(name, about, ["model"], registry=registry)
            for engine in engines.all:
                gauge.labels(engine.name).set_function(partial(value, engine))

    def requested(self, path: str, status: int) -> None:
        """Count a request by the status of its response; 499 if the client left before the response."""
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
