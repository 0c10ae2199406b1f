"""Repeats recorded runs, compares the answers, and reports the results."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping, Sequence

from paragone import (
    InputError,
    Json,
    ParagoneError,
    json_values,
    options,
    shared_options,
    texts,
    threads,
    wire,
)
from paragone_workbench.compare.diff import common_length
from paragone_workbench.compare.divergence import token_at
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import identity, recorded_runs, replay_engines
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.store import History, StoreError

_QUOTED = 40
"""Number of characters that are quoted from each answer after the divergence."""


def replayable(runs: Sequence[recorded_runs.Recorded]) -> tuple[list[recorded_runs.Recorded], dict[str, str]]:
    """Return the runs that can be repeated, and why the others cannot, by their ids. Raises InputError if none can be
    repeated."""
    reasons: dict[str, str] = {}
    able: list[recorded_runs.Recorded] = []
    for run in runs:
        if run.result.state != "done":
            reasons[run.id] = f"it has no complete answer to compare with: it was {run.result.state}"
        elif not run.result.request:
            reasons[run.id] = "it has no manifest, so its options are unknown"
        elif not run.messages:
            reasons[run.id] = "its prompt is missing"
        else:
            able.append(run)
    if not able:
        if not reasons:
            raise InputError("There are no runs to repeat.")
        first, reason = next(iter(reasons.items()))
        more = "" if len(reasons) == 1 else " The other runs cannot be repeated either."
        raise InputError(f"The run {first} cannot be repeated: {reason}.{more}")
    return able, reasons


class Replay:
    """Repeats runs with the recorded number of threads. One engine is open at a time, and no run reuses the KV cache."""

    def __init__(
        self, engines: Sequence[replay_engines.ReplayEngine], registry: Registry, history: History
    ) -> None:
        self.total = sum(len(engine.runs) for engine in engines)
        self.results: list[recorded_runs.Recorded] = []
        self.unsaved: StoreError | None = None
        """Why a repeated run was not saved."""
        self._engines = engines
        self._pool = EnginePool(registry, mode="sequential")
        self._history = history
        self._stopped = asyncio.Event()

    @property
    def engines(self) -> list[replay_engines.ReplayEngine]:
        """The engines that have repeated at least one run."""
        return [engine for engine in self._engines if engine.repeated]

    @property
    def left(self) -> int:
        """Number of runs that a stop has prevented from being repeated."""
        return self.total - len(self.results)

    async def runs(self) -> AsyncIterator[recorded_runs.Recorded]:
        """Repeat the runs, and yield each repeated run, until `stop`. Raises StoreError."""
        for engine in self._engines:
            if self._stopped.is_set():
                return
            handle = self._pool.add(engine.definition)
            last: RunResult | None = None
            for recorded in engine.runs:
                if self._stopped.is_set():
                    break
                again = await self._repeat(handle, engine, recorded)
                if again.state != "done" and self._stopped.is_set():
                    break
                engine.repeated.append(recorded)
                if again.manifest:
                    last = again
                    engine.add(recorded_runs.changes_of_run(recorded.result, again))
                    engine.unknown_seeds += _seed_unknown(recorded)
                    metrics = recorded.result.metrics
                    engine.reused_cache += metrics is not None and bool(metrics.cached_tokens)
                self.results.append(_compared(recorded, again))
                yield self.results[-1]
            engine.promises = handle.capabilities.seed
            await self._pool.remove(handle)
            if last is not None:
                await self._describe(engine, last)

    async def stop(self) -> None:
        self._stopped.set()
        await self._pool.stop()

    async def close(self) -> None:
        await self._pool.close()

    async def _repeat(
        self, handle: EngineTask, engine: replay_engines.ReplayEngine, recorded: recorded_runs.Recorded
    ) -> RunResult:
        if handle.error is None or handle.state == "crashed":
            handle.open(_threads_at_opening(recorded.result))
        logprobs = recorded.result.request.get("logprobs")
        spec = RunSpec(
            messages=recorded.messages,
            sampling=engine.sampling_of(recorded),
            logprobs=logprobs if type(logprobs) is int else None,
            cold=True,
            choices=json_values.texts_at(recorded.result.request, "choices"),
            threads=_threads(recorded.result),
            left_out=engine.left_out_of(recorded),
        )
        run = self._pool.run(handle, spec)
        await run.ended()
        again = run.result
        if again.manifest:
            about = recorded.result.id
            try:
                await self._history.call(
                    lambda store: store.save_run(again, purpose="replay", about_id=about)
                )
            except StoreError as error:  # if the disk is full, the answers are compared nevertheless
                self.unsaved = error
        return again

    async def _describe(self, engine: replay_engines.ReplayEngine, last: RunResult) -> None:
        weights = identity.weights_in(last.manifest)
        now = await identity.digest_weights(self._history, weights, self._stopped)
        per_run = {info.name for info in options.describe(engine.backend.sampling)}
        verdicts: list[recorded_runs.WeightsVerdict] = []
        # each distinct manifest once: runs differ only in their requests
        manifests = (run.result.common_manifest for run in engine.repeated)
        for before in {json.dumps(manifest): manifest for manifest in manifests}.values():
            recorded = await identity.known_weights(self._history, identity.weights_in(before))
            verdict, changes = recorded_runs.compare_weights(recorded, now)
            verdicts.append(verdict)
            engine.add(changes)
            engine.add(
                recorded_runs.changes_of_engine(before, last.manifest, per_run=per_run, weights=verdict)
            )
        engine.weights = min(verdicts, key=lambda verdict: (False, None, True).index(verdict.same))

    @property
    def verdict(self) -> str:
        """A message: how many answers are the same, what may have changed the others, and how many runs a stop has left."""
        same, total = sum(run.same for run in self.results), len(self.results)
        failed = sum(run.error is not None for run in self.results)
        differing = {run.engine for run in self.results if run.difference is not None}
        if self.left:
            message = f"Stopped: {total:,} of {self.total:,} runs were repeated, {self.left:,} not."
            if total:
                answers = texts.counted(same, "answer is", "answers are")
                message += f" {answers} the same, {total - same - failed:,} different."
        elif same == total == 1:
            message = "The answer is the same."
        elif total == 1 and differing:
            message = "The answer differs."
        else:
            message = f"{same:,} of {total:,} answers are the same."
        sentences = [message]
        if failed:
            sentences.append(f"{texts.counted(failed, 'run')} failed.")
        for engine in self.engines:
            if engine.recorded.name in differing:
                sentences += [f"{engine.recorded.name}: {cause}" for cause in _causes(engine)]
        return " ".join(sentences)

    def to_json(self, target: str, skipped: Mapping[str, str]) -> dict[str, Json]:
        """Return the result of a replay. docs/command-line.schema.json has the schema."""
        return {
            "replay": target,
            "same": sum(run.same for run in self.results),
            "total": len(self.results),
            "left": self.left,
            "verdict": self.verdict,
            "runs": [
                {
                    "id": run.id,
                    "engine": run.engine,
                    "same": run.same,
                    "error": None if run.error is None else str(run.error),
                    "difference": None
                    if run.difference is None
                    else wire.to_json(run.difference, complete=True),
                }
                for run in self.results
            ],
            "skipped": [{"id": number, "reason": reason} for number, reason in skipped.items()],
            "engines": [
                {
                    "engine": engine.recorded.name,
                    "model": engine.definition.model,
                    "weights": wire.to_json(engine.weights, complete=True),
                    "changes": [wire.to_json(change, complete=True) for change in engine.changes],
                }
                for engine in self.engines
            ],
        }


def _threads_at_opening(run: RunResult) -> int:
    """Return the number of threads with which to open an engine: the recorded number, if that is known."""
    fact = run.loaded.facts.get("threads", "") if run.loaded is not None else ""
    cores = threads.physical_cores()
    return min(int(fact), cores) if fact.isdecimal() else _threads(run) or cores


def _threads(run: RunResult) -> int | None:
    """Return the recorded number of threads, at most the number of this machine's cores; None if unknown."""
    recorded = run.settings.threads if run.settings is not None else None
    return None if recorded is None else min(recorded, threads.physical_cores())


def _seed_unknown(run: recorded_runs.Recorded) -> bool:
    settings = run.result.settings
    if settings is not None and settings.seed is not None:
        return False
    sampling = (settings.sampling if settings is not None else None) or {}
    return "seed" not in shared_options.without_effect({**sampling, "seed": None})


def _compared(recorded: recorded_runs.Recorded, again: RunResult) -> recorded_runs.Recorded:
    if again.state != "done":
        error = ParagoneError(again.error or f"The repetition was {again.state}.", hint=again.hint)
        return dataclasses.replace(recorded, error=error)
    before = recorded.result
    for channel, one, other in (
        ("thinking", before.thinking, again.thinking),
        ("answer", before.text, again.text),
    ):
        if one != other:
            at = common_length(one, other)
            token = token_at(before.tokens, at) if before.tokens and channel == "answer" else None
            difference = recorded_runs.AnswerDifference(
                channel=channel,
                char=at,
                token=token,
                before=texts.shortened(one[at:], _QUOTED),
                now=texts.shortened(other[at:], _QUOTED),
            )
            return dataclasses.replace(recorded, difference=difference)
    return recorded


def _causes(engine: replay_engines.ReplayEngine) -> list[str]:
    sentences: list[str] = []
    if engine.reused_cache:
        sentences.append(
            f"{texts.counted(engine.reused_cache, 'recorded run')} had reused the KV cache. This cannot be repeated "
            "exactly: the repetition is cold, and rounds differently."
        )
    changed = dict.fromkeys(change.what for change in engine.changes if change.may_change_answers)
    changed.pop("KV cache", None)
    if changed:
        sentences.append(f"these changes may be the reason ({', '.join(changed)}).")
    if engine.unknown_seeds:
        sentences.append(
            f"the seed of {engine.unknown_seeds:,} recorded runs is unknown, so sampling differs."
        )
    if sentences:
        return sentences
    if engine.promises:
        return ["no known condition has changed, so the engine does not reproduce its own answers."]
    return ["no known condition has changed; its server does not promise the same answer for the same seed."]
