"""The result of a run: everything that one request to one engine produced."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from paragone import Caution, FinishReason, Json, LoadedModel, ParagoneError, RunSettings, Token
from paragone.json_fields import object_at
from paragone.wire import from_json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.prefix import Prefilled

RunState: TypeAlias = Literal["running", "done", "stopped", "failed", "interrupted"]
"""`interrupted` means that the program ended during the run, whose saved part is kept."""

EndState: TypeAlias = Literal["done", "stopped", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The answer of a run so far, its request and its figures. The program, the history, documents and reports use this type.

    `paragone.wire` converts a result to JSON. A new field needs a default, which results of earlier versions then have.
    """

    id: str
    """A UUID of version 7, which the program generates when it creates the run."""
    definition: EngineDefinition
    """The definition of the engine, without secret options."""
    started: float
    """Seconds since 1970."""
    ended: float | None = None
    """Seconds since 1970; None before the end, and for an answer from a batch, whose time was not measured."""
    waited_s: float | None = None
    """Seconds that the run waited for its engine and its turn before the request was sent; None if no request was sent."""
    state: RunState = "running"
    finish: FinishReason | None = None
    error: str = ""
    """What failed and why; empty if the run has not failed."""
    hint: str = ""
    """What to do about the error; may be empty."""
    text: str = ""
    """The whole answer, including the part that the run was given."""
    thinking: str = ""
    prefilled: Prefilled | None = None
    """The length of the part of the answer that the run was given; None if the engine generated the whole answer. The
    metrics are those of the generated part."""
    cautions: tuple[Caution, ...] = ()
    """Warnings for the user."""
    settings: RunSettings | None = None
    """The settings in force, as far as the engine reports them."""
    metrics: RunMetrics | None = None
    """The durations, rates and token counts of the run; None before its end."""
    manifest: Mapping[str, Json] = field(default_factory=dict)
    """The data needed to reproduce the run. The item `request` describes this run alone; runs can share the other items."""
    tokens: tuple[Token, ...] = ()
    """The tokens with their log-probabilities and times, if the request asks for log-probabilities."""

    @property
    def message(self) -> str:
        """The error and its hint in one line; empty if the run has not failed."""
        return str(ParagoneError(self.error, hint=self.hint)) if self.error else ""

    @property
    def cut(self) -> str:
        """A sentence that names the limit at which the answer was cut; empty for an answer that was not cut."""
        if self.finish != "length":
            return ""
        limit = (self.settings.sampling or {}).get("max_tokens") if self.settings is not None else None
        if limit is None and isinstance(asked := self.request.get("sampling"), Mapping):
            limit = asked.get("max_tokens")
        tokens = self.metrics.completion_tokens if self.metrics is not None else 0
        is_full = any(caution.code == "context-full" for caution in self.cautions)
        if isinstance(limit, int) and not is_full and tokens >= limit:
            return f"Cut at max_tokens ({limit:,})."
        context = self.loaded.context if self.loaded is not None else None
        if is_full or limit is None:
            size = f" ({context:,} tokens)" if context else ""
            return f"Cut at the end of the context{size}."
        return "Cut at the length limit."

    @property
    def request(self) -> Mapping[str, Json]:
        """The request without its messages, from the manifest; empty if the run has not begun."""
        return object_at(self.manifest, "request")

    @property
    def common_manifest(self) -> dict[str, Json]:
        """The manifest without the request: the part that runs have in common."""
        return {name: value for name, value in self.manifest.items() if name != "request"}

    @property
    def keeps_tokens(self) -> bool:
        """Whether `tokens` has the tokens of the whole answer, because the request asks for log-probabilities."""
        is_whole = self.prefilled is None or self.prefilled.tokens is not None
        return is_whole and self.request.get("logprobs") is not None

    @property
    def loaded(self) -> LoadedModel | None:
        """The description of the open model that answered; None if the manifest lacks the description."""
        loaded = self.manifest.get("loaded")
        if not isinstance(loaded, Mapping):
            return None
        weights = self.manifest.get("weights") or []
        with contextlib.suppress(TypeError, ValueError):  # another version of paragone wrote the manifest
            return from_json(LoadedModel, {**loaded, "weights": weights})
        return None
