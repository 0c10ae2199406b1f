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
"""`interrupted`: the program ended during the run; what had been saved by then is kept."""

EndState: TypeAlias = Literal["done", "stopped", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The answer of a run so far, its request and its figures: one value in memory, the history, documents and reports.

    `paragone.wire` converts it to JSON. A new field needs a default, which results of earlier versions then have.
    """

    id: str
    """A UUID of version 7, which the program makes with the run."""
    definition: EngineDefinition
    """The definition of the engine, without secret options."""
    started: float
    """Seconds since 1970."""
    ended: float | None = None
    """Seconds since 1970; None before the end, and if the answer came from a batch, where nobody measured the time."""
    waited_s: float | None = None
    """Seconds until the request was sent: the run waited for its engine and its turn. None if it was not sent."""
    state: RunState = "running"
    finish: FinishReason | None = None
    error: str = ""
    """What failed and why; empty if the run has not failed."""
    hint: str = ""
    """What to do about the error; may be empty."""
    text: str = ""
    """The whole answer, with what the run was given of it."""
    thinking: str = ""
    prefilled: Prefilled | None = None
    """How much of the answer the run was given; None if the engine generated all of it. The metrics count what the
    engine generated."""
    cautions: tuple[Caution, ...] = ()
    """Warnings for the user."""
    settings: RunSettings | None = None
    """The settings in force, as far as the engine reports them."""
    metrics: RunMetrics | None = None
    """None before the end."""
    manifest: Mapping[str, Json] = field(default_factory=dict)
    """The data needed to reproduce the run. Its `request` belongs to the run; the rest, runs have in common."""
    tokens: tuple[Token, ...] = ()
    """The tokens with their log-probabilities and times, if the request asks for log-probabilities."""

    @property
    def message(self) -> str:
        """The error and what to do about it, in one line; empty if the run has not failed."""
        return str(ParagoneError(self.error, hint=self.hint)) if self.error else ""

    @property
    def cut(self) -> str:
        """A sentence that says at which limit the answer was cut; empty if it was not."""
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
            return (
                f"Cut at the end of the context ({context:,} tokens)."
                if context
                else "Cut at the end of the context."
            )
        return "Cut at the length limit."

    @property
    def request(self) -> Mapping[str, Json]:
        """The request as the manifest has it, without its messages; empty if the run has not begun."""
        return object_at(self.manifest, "request")

    @property
    def common_manifest(self) -> dict[str, Json]:
        """The part of the manifest that runs have in common: all but the request."""
        return {name: value for name, value in self.manifest.items() if name != "request"}

    @property
    def keeps_tokens(self) -> bool:
        """Whether the request asks for log-probabilities, so that `tokens` are those of the whole answer."""
        is_whole = self.prefilled is None or self.prefilled.tokens is not None
        return is_whole and self.request.get("logprobs") is not None

    @property
    def loaded(self) -> LoadedModel | None:
        """The model that answered, as it was loaded then; None if the manifest does not have it."""
        loaded = self.manifest.get("loaded")
        if not isinstance(loaded, Mapping):
            return None
        weights = self.manifest.get("weights") or []
        with contextlib.suppress(TypeError, ValueError):  # written by another version
            return from_json(LoadedModel, {**loaded, "weights": weights})
        return None
