"""The result of a run, the manifest that is needed to reproduce the run, and sums of costs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone import Caution, FinishReason, Json, LoadedModel, Message, ParagoneError, RunSettings, Token
from paragone.json_values import object_at
from paragone.texts import counted
from paragone.wire import from_json, to_json
from paragone_workbench.engines.definitions import EngineDefinition, secret_options, without_secrets
from paragone_workbench.runs.metrics import RunMetrics

if TYPE_CHECKING:
    from paragone import Backend, RunRequest


def manifest(
    definition: EngineDefinition,
    backend: Backend | None,
    loaded: LoadedModel,
    request: RunRequest,
    *,
    schedule: str = "",
    machine: Mapping[str, Json] | None = None,
    left_out: int = 0,
) -> dict[str, Json]:
    """Return the engine without secrets, the open model, its weights, the machine, and the request, with the number
    and a digest of its messages. The request omits the `left_out` oldest messages of the conversation."""
    secret = frozenset() if backend is None else secret_options(backend)
    sampling = {name: value for name, value in request.sampling.items() if name not in secret}
    return {
        "paragone": _version(),
        "engine": to_json(without_secrets(definition, backend)),
        "loaded": to_json(dataclasses.replace(loaded, weights=())),
        "weights": [to_json(file) for file in loaded.weights],
        "machine": machine or {},
        "schedule": schedule,
        "request": {
            **to_json(dataclasses.replace(request, messages=(), text="", ids=(), sampling=sampling)),
            "messages": len(request.messages),
            "left_out": left_out,
            "messages_sha256": _digest(request),
        },
    }


@functools.cache
def _version() -> str:
    """Return the version of paragone. Cached, because reading the metadata of a package takes about a millisecond."""
    from importlib.metadata import version  # imported here so that the program starts faster

    return version("paragone")


def _digest(request: RunRequest) -> str:
    """Return the SHA-256 of the parts of all messages, or of the plain text or the ids with spaces, each preceded by
    its length as a big-endian 64-bit integer."""
    import hashlib  # imported here so that the program starts faster

    parts = [given] if (given := request.text or " ".join(map(str, request.ids))) else []
    for message in request.messages:
        parts += [message.role, message.text, message.thinking, *(image.data for image in message.images)]
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefilled:
    """The length of the start of an answer that the request contained. The engine generated the rest."""

    text: int = 0
    """Number of given characters at the start of the answer."""
    thinking: int = 0
    """Number of given characters at the start of the thinking."""
    tokens: int | None = None
    """Number of given tokens at the start of `RunResult.tokens`. None if the tokens are unknown: `RunResult.tokens`
    then begins with one token without an id for the whole given text of each channel."""
    run_id: str = ""
    """The run whose answer is continued; empty if the text came with the request."""
    chosen: str = ""
    """The text of the last given token if the user chose this token; else empty."""

    @property
    def sentence(self) -> str:
        if self.chosen:
            token = self.chosen.replace("\n", "⏎")
            return f"Continues from the chosen token “{token}”."
        count = counted(self.text or self.thinking, "character")
        return f"Continues after {count} {'of an earlier answer' if self.run_id else 'that were given'}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    text: str = ""
    thinking: str = ""
    tokens: tuple[Token, ...] = ()
    """The tokens of thinking and text; empty if unknown."""
    run_id: str = ""
    chosen: str = ""

    @classmethod
    def of_request(cls, messages: Sequence[Message]) -> Prefix | None:
        """Return the prefix that a request contains: its last message, if this is the assistant's; else None."""
        last = messages[-1] if messages else None
        if last is None or last.role != "assistant":
            return None
        return cls(text=last.text, thinking=last.thinking)

    @classmethod
    def of_answer(cls, answer: RunResult, *, same_model: bool) -> Prefix:
        known = same_model and answer.keeps_tokens
        return cls(
            text=answer.text,
            thinking=answer.thinking,
            tokens=answer.tokens if known else (),
            run_id=answer.id,
        )

    @classmethod
    def up_to(cls, answer: RunResult, index: int, chosen: Token) -> Prefix:
        tokens = (*answer.tokens[:index], chosen)
        texts = {"answer": "", "thinking": ""}
        for token in tokens:
            texts[token.channel] += token.text
        return cls(
            text=texts["answer"],
            thinking=texts["thinking"],
            tokens=tokens,
            run_id=answer.id,
            chosen=chosen.text,
        )

    @property
    def prefilled(self) -> Prefilled:
        return Prefilled(
            text=len(self.text),
            thinking=len(self.thinking),
            tokens=len(self.tokens) or None,
            run_id=self.run_id,
            chosen=self.chosen,
        )

    @property
    def result_tokens(self) -> tuple[Token, ...]:
        whole = (
            Token(text=self.thinking, channel="thinking", time=0.0),
            Token(text=self.text, time=0.0),
        )
        return self.tokens or tuple(token for token in whole if token.text)


RunState: TypeAlias = Literal["running", "done", "stopped", "failed", "interrupted"]
"""`interrupted` means that the program ended during the run, whose saved part is kept."""

EndState: TypeAlias = Literal["done", "stopped", "failed", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The answer of a run so far, its request and its figures, for the program, the history, documents and reports. A
    new field needs a default, which the results saved by earlier versions then get."""

    id: str
    """A UUID of version 7, which the program generates when it creates the run."""
    definition: EngineDefinition
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
    text: str = ""
    """The whole answer, including the start that the request contained."""
    thinking: str = ""
    prefilled: Prefilled | None = None
    """The length of the given start of the answer, which the metrics exclude; None if the engine generated the whole answer."""
    cautions: tuple[Caution, ...] = ()
    settings: RunSettings | None = None
    metrics: RunMetrics | None = None
    manifest: Mapping[str, Json] = field(default_factory=dict)
    """The data needed to reproduce the run. The item `request` describes this run alone; runs can share the other items."""
    tokens: tuple[Token, ...] = ()
    """The tokens with their log-probabilities and times, if the request asks for log-probabilities."""

    @property
    def message(self) -> str:
        return str(ParagoneError(self.error, hint=self.hint)) if self.error else ""

    @property
    def is_cut(self) -> bool:
        return self.state == "done" and self.finish == "length"

    @property
    def cut(self) -> str:
        """A message with the limit at which the answer was cut; empty for an answer that was not cut."""
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
        return object_at(self.manifest, "request")

    @property
    def common_manifest(self) -> dict[str, Json]:
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


MOST_TOKENS = 10**12
"""Largest plausible count of tokens. A larger or negative count that a server reports is treated as unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The sums over a set of runs that have ended and whose request was sent. An unknown value of a run counts as 0."""

    runs: int = 0
    prompt_tokens: int = 0
    """Tokens of whole prompts, including tokens taken from the KV cache."""
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """The sum over all runs, simultaneous ones included, of the seconds from sending the request to the end of the run."""
    estimated: int = 0
    """Number of runs whose generated tokens the engine did not count: `completion_tokens` has the number of pieces instead."""
    uncounted: int = 0
    """Number of runs whose prompt tokens or generated tokens are unknown."""

    @classmethod
    def of(cls, result: RunResult) -> Costs:
        """Return the costs of a run, as `store.runs.costs` computes them; all are 0 before the run ends, or if its
        request was not sent."""
        metrics = result.metrics
        if result.state == "running" or (result.waited_s is None and metrics is None):
            return Costs()
        ended = result.started if result.ended is None else result.ended
        seconds = max(0.0, ended - result.started - (result.waited_s or 0.0))
        if metrics is None:
            return Costs(runs=1, seconds=seconds, uncounted=1)
        prompt, completion = _possible(metrics.prompt_tokens), _possible(metrics.completion_tokens)
        return Costs(
            runs=1,
            prompt_tokens=prompt or 0,
            cached_tokens=_possible(metrics.cached_tokens) or 0,
            completion_tokens=completion or 0,
            seconds=seconds,
            estimated=int(metrics.estimated),
            uncounted=int(prompt is None or completion is None),
        )

    @classmethod
    def total(cls, parts: Iterable[Costs]) -> Costs:
        rows = [asdict(costs) for costs in parts]
        return cls(**{name: sum(row[name] for row in rows) for name in cls.__slots__})


def _possible(tokens: int | None) -> int | None:
    return tokens if tokens is not None and 0 <= tokens <= MOST_TOKENS else None
