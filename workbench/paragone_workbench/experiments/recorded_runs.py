"""Recorded runs with everything that a repetition needs, and the differences between a run and its repetition."""

import functools
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from paragone import InputError, Json, Message, ParagoneError, WeightsFile
from paragone.facts import BUILD_FACTS, PROGRAM, ROUNDING, STANDARD_FACTS
from paragone.json_values import object_at
from paragone.shared_options import without_effect
from paragone_workbench.experiments.suite import SuitePrompt, saved_prompt, saved_prompts
from paragone_workbench.ids import parse_id
from paragone_workbench.runs.context import request_of
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import ExperimentRun, History, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDifference:
    """The first difference, at a character and in a recorded token (None if unknown), in the `channel` answer or
    thinking. `before` and `now` are the texts from there on, shortened; empty at the end of a text."""

    channel: str
    char: int
    token: int | None
    before: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A recorded run, and the outcome of its repetition."""

    id: str
    """`r45`, or `e3/17` for a run of an experiment."""
    result: RunResult
    messages: tuple[Message, ...]
    error: ParagoneError | None = None
    difference: AnswerDifference | None = None

    @property
    def engine(self) -> str:
        return self.result.definition.name

    @property
    def same(self) -> bool:
        return self.error is None and self.difference is None


async def recorded_runs(history: History, text: str) -> tuple[Recorded, ...]:
    """Return the run, or all runs of the conversation or experiment, with this id. Raises StoreError, and InputError."""
    found = parse_id(text)
    if found is None:
        raise InputError(f"{text!r} is not the id of a run, a conversation or an experiment.")
    if found.kind == "e":
        return await history.call(functools.partial(_of_experiment, found.number, found.run))
    conversation_id = found.number
    if found.kind == "r":
        conversation_id = await history.call(lambda store: store.conversation_of(found.number))
    saved = await history.load(conversation_id)
    return tuple(
        Recorded(id=f"r{run.number}", result=run.result, messages=request_of(run))
        for run in saved.runs
        if found.kind == "c" or run.number == found.number
    )


def _of_experiment(experiment_id: int, run_id: int | None, store: Store) -> tuple[Recorded, ...]:
    experiments = store.experiments
    experiments.get(experiment_id)  # raises InputError if the experiment does not exist
    if run_id is None:
        runs: Iterable[ExperimentRun] = experiments.runs(experiment_id)
        prompts: Iterable[SuitePrompt] = saved_prompts(store, experiment_id)
    else:
        run = experiments.run(experiment_id, run_id)
        runs, prompts = [run], [saved_prompt(store, experiment_id, run.key.prompt_index)]
    messages = {prompt.index: prompt.messages for prompt in prompts}
    return tuple(
        Recorded(
            id=f"e{experiment_id}/{run.number}",
            result=run.result,
            messages=messages.get(run.key.prompt_index, ()),
        )
        for run in runs
    )


_SPEED = "It changes the speed."
_SEPARATE = "The weights are compared separately."
_WEIGHTS = "Other weights give other answers."
_SAMPLING = "It changes which tokens are chosen."
_PROMPT = "The model was given another prompt."
_MACHINE = {"cpu": ROUNDING, "gpus": ROUNDING, "cores": _SPEED, "memory": _SPEED, "os": "", "python": ""}
"""The properties of a machine, each with the effect of a difference."""
_HARMLESS = {"os", "python"}
"""Properties of a machine whose changes do not affect answers."""
_EFFECTS = {fact.name: fact.effect for fact in (PROGRAM, *BUILD_FACTS, *STANDARD_FACTS)}
_LONGEST = 60
"""Longer values, in characters, are shown shortened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    what: str
    before: str
    now: str
    effect: str = ""
    """A message on the effect on answers; empty if the effect is unknown."""

    @property
    def may_change_answers(self) -> bool:
        return self.effect not in (_SPEED, _SEPARATE) and self.what not in _HARMLESS


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsVerdict:
    same: bool | None = None
    """None if unknown."""
    by: Literal["sha256", "modified", "size"] | None = None
    """How the files were compared: by SHA-256, else by size and time of modification, else only by size."""

    @property
    def sentence(self) -> str:
        match self.same, self.by:
            case True, "sha256":
                return "the same (by SHA-256)"
            case True, _:
                return "the same file, by its size and time of modification; no SHA-256 was recorded"
            case False, _:
                return "different"
            case None, "size":
                return "of the same size; whether they are the same is unknown: a SHA-256 is missing"
        return "unknown: the engine or the recorded run does not name them"


def compare_weights(
    before: Sequence[WeightsFile], now: Sequence[WeightsFile]
) -> tuple[WeightsVerdict, list[Change]]:
    if not before or not now:
        return WeightsVerdict(), []
    if len(before) != len(now):
        change = Change(
            what="weights", before=f"{len(before)} files", now=f"{len(now)} files", effect=_WEIGHTS
        )
        return WeightsVerdict(same=False), [change]
    pairs = list(zip(before, now, strict=True))
    changes = [
        Change(what="weights", before=_described(one), now=_described(other), effect=_WEIGHTS)
        for one, other in pairs
        if _differ(one, other)
    ]
    is_digested = all(one.sha256 is not None and other.sha256 is not None for one, other in pairs)
    if is_digested or changes:
        return WeightsVerdict(same=not changes, by="sha256" if is_digested else "size"), changes
    if all(_same_file(one, other) for one, other in pairs):
        return WeightsVerdict(same=True, by="modified"), []
    return WeightsVerdict(same=None, by="size"), []


def changes_of_engine(
    before: Mapping[str, Json], now: Mapping[str, Json], *, per_run: Collection[str], weights: WeightsVerdict
) -> Iterator[Change]:
    """Yield the differences between the fields that both manifests have, except weights and options that are `per_run`."""
    yield from _change("paragone", before.get("paragone"), now.get("paragone"))
    old, new = object_at(before, "engine"), object_at(now, "engine")
    effect_of_path = "" if weights.by is None else _SEPARATE
    yield from _change("backend", old.get("backend"), new.get("backend"))
    yield from _change("model", old.get("model"), new.get("model"), effect=effect_of_path)
    yield from _change("interpreter", old.get("python"), new.get("python"), unset="default")
    recorded, present = object_at(old, "options"), object_at(new, "options")
    for name in sorted({*recorded, *present} - set(per_run)):
        yield from _change(name, recorded.get(name), present.get(name), unset="not set")
    loaded, opened = object_at(before, "loaded"), object_at(now, "loaded")
    for name in ("architecture", "quantization", "context"):
        yield from _change(name, loaded.get(name), opened.get(name))
    facts, known = object_at(loaded, "facts"), object_at(opened, "facts")
    for name in facts:
        yield from _change(name, facts[name], known.get(name))
    machine, this = object_at(before, "machine"), object_at(now, "machine")
    for name, effect in _MACHINE.items():
        yield from _change(name, machine.get(name), this.get(name), effect=effect)
    yield from _change("schedule", before.get("schedule") or None, now.get("schedule") or None, effect=_SPEED)


def changes_of_run(before: RunResult, now: RunResult) -> Iterator[Change]:
    """Yield the differences between two runs in messages, rendered prompt, active sampling options, threads and KV cache."""
    sent, again = before.request.get("messages_sha256"), now.request.get("messages_sha256")
    if isinstance(sent, str) and isinstance(again, str) and sent != again:
        yield Change(what="messages", before=_digest(sent), now=_digest(again), effect=_PROMPT)
    reused = before.metrics.cached_tokens if before.metrics is not None else None
    if reused and now.state == "done":
        yield Change(what="KV cache", before=f"{reused} tokens reused", now="none reused", effect=ROUNDING)
    if before.settings is None or now.settings is None:
        return
    yield from _change("rendered prompt", before.settings.prompt, now.settings.prompt, effect=_PROMPT)
    yield from _change("threads", before.settings.threads, now.settings.threads)
    yield from _change("model in the answer", before.settings.answered_by, now.settings.answered_by)
    recorded, present = before.settings.sampling or {}, now.settings.sampling or {}
    idle = without_effect(recorded) & without_effect(present)
    if "seed" not in idle:
        yield from _change("seed", before.settings.seed, now.settings.seed, unset="unknown", effect=_SAMPLING)
    for name in recorded:
        if name in present and name not in idle and name != "seed":
            yield from _change(name, recorded[name], present[name], unset="not set", effect=_SAMPLING)


def _change(
    what: str, before: Json, now: Json, *, unset: str | None = None, effect: str | None = None
) -> Iterator[Change]:
    """Yield the change, if any. None is an unset value, shown as `unset`; without `unset`, it is an unknown value,
    which does not count."""
    if (before is None or now is None) and (unset is None or before is now):
        return
    if json.dumps(before) == json.dumps(now):  # in JSON, a tuple equals a list
        return
    effect = _EFFECTS.get(what, "") if effect is None else effect
    first, second = (unset or "" if value is None else _shown(value) for value in (before, now))
    yield Change(what=what, before=first, now=second, effect=effect)


def _shown(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= _LONGEST and "\n" not in text:
        return text
    digest = _digest(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
    return f"{len(text):,} characters, {digest}"


def _digest(sha256: str) -> str:
    return f"SHA-256 {sha256[:8]}…"


def _described(file: WeightsFile) -> str:
    parts = [PurePath(file.path).name]
    if file.size is not None:
        parts.append(f"{file.size:,} bytes")
    if file.sha256 is not None:
        parts.append(_digest(file.sha256))
    return ", ".join(parts)


def _differ(one: WeightsFile, other: WeightsFile) -> bool:
    if one.sha256 is not None and other.sha256 is not None:
        return one.sha256 != other.sha256
    if one.sample is not None and other.sample is not None and one.sample != other.sample:
        return True
    return one.size is not None and other.size is not None and one.size != other.size


def _same_file(one: WeightsFile, other: WeightsFile) -> bool:
    if one.sha256 is not None and one.sha256 == other.sha256:
        return True
    return (one.path, one.size, one.modified_ns) == (other.path, other.size, other.modified_ns)
