"""Measures the fidelity over answers in conversations: the reference's own greedy answers, or recorded ones."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import paragone
from paragone import Json
from paragone.json_values import count_at, objects_at, text_at
from paragone.texts import counted
from paragone.threads import physical_cores
from paragone.wire import from_json
from paragone_workbench.compare.diff import common_length
from paragone_workbench.compare.divergence import Divergence, Fork, ForkSide
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.measure import distances, fidelity_verdict
from paragone_workbench.measure.distances import Measured, Window, WorstPlace
from paragone_workbench.measure.fidelity import Fidelity, MeasurementStep
from paragone_workbench.measure.free_running import Comparison
from paragone_workbench.runs.result import RunResult
from paragone_workbench.statistics import Values, np

if TYPE_CHECKING:
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.store.votes import Measurement


class ConversationTurn(Protocol):
    """A turn of a conversation: the messages before the answer, and the recorded answer."""

    @property
    def index(self) -> int: ...
    @property
    def messages(self) -> tuple[paragone.Message, ...]: ...
    @property
    def answer(self) -> str | None: ...
    @property
    def conversation(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPart(Window):
    """A conversation up to an answer, or to a part of a long answer, which is scored."""

    turn: ConversationTurn
    first: int
    """Index in the answer of the first scored token."""
    text: str
    """The rendered prompt and the whole answer."""
    size: int
    """Number of bytes of the whole answer."""
    length: int
    """Number of tokens of the whole answer, without its end."""


PART = 512
"""Largest number of tokens of an answer that are scored together. The distributions at all of them are in memory."""


class _Answer(NamedTuple):
    prompt: str
    text: str
    ids: Sequence[int]
    """The tokens of the prompt and the answer."""
    start: int
    """Number of tokens of the prompt."""
    is_whole: bool
    """Whether the answer ended by itself, so that its end is scored too."""


class ConversationFidelity(Fidelity):
    """The fidelity at the positions of answers. The unit of uncertainty is the conversation."""

    unit = "conversation"
    step = "answer"
    least_noise = 4  # many answers are short

    def __init__(
        self,
        reference: EngineTask,
        candidates: Sequence[EngineTask],
        turns: Sequence[ConversationTurn],
        *,
        recorded: bool,
    ) -> None:
        """Prepare to score the recorded answers, or those in `greedy`, which the caller fills before `measure`."""
        super().__init__(reference, candidates, "", window=0)
        self.turns = turns
        self.recorded = recorded
        self.greedy: Mapping[int, RunResult] = {}
        """The reference's greedy answers by the number of the turn."""
        self.parts: Sequence[AnswerPart] = ()
        """The scored parts of answers, in the reference's tokens."""
        self.places: dict[Measured, Sequence[Json]] = {}
        """The worst places of each candidate, in words."""
        self.answering: list[EngineTask] = []
        """The candidates that report neither distributions nor log-probabilities: only their answers can be compared."""
        self.skipped = 0
        """Number of turns without an answer that fits in the context of all engines."""

    async def measure(self, on_step: Callable[[MeasurementStep], None] = lambda step: None) -> None:
        for measured in self.measured:
            measured.engine.open(physical_cores())  # engines compute one after the other
        if await self.reference.engine.opened() and not self.reference.engine.capabilities.distributions:
            self.answering = [candidate.engine for candidate in self.candidates]
            for candidate in self.candidates:
                candidate.reason = f"{self.reference.name} reports no distributions. {_ANSWERS}"
            return
        try:
            await super().measure(on_step)
        finally:
            engine = self.reference.engine
            if engine.is_open and engine.capabilities.token_ids and engine.capabilities.score:
                texts = _Texts(engine)
                for measured in self.candidates:
                    self.places[measured] = [await _place(place, texts) for place in measured.worst]

    async def _prepared(
        self, candidate: Measured, vocabulary: paragone.Vocabulary, windows: list[Window]
    ) -> list[Window] | None:
        known = candidate.engine.capabilities if await candidate.engine.opened() else None
        if known is None or known.distributions or known.top_tokens:
            return await super()._prepared(candidate, vocabulary, windows)
        candidate.size, candidate.tokens = candidate.engine.require_open().size, self.reference.tokens
        if not known.score:
            candidate.reason = f"{candidate.name} reports no probabilities of given answers. {_ANSWERS}"
            self.answering.append(candidate.engine)
            return None
        candidate.only_losses = True
        candidate.reason = (
            f"{candidate.name} reports only the log-probabilities of given answers, so there is no KL divergence. "
            "The log-likelihoods of the answers are compared."
        )
        return windows

    async def _measure_candidate(self, candidate: Measured, window: Window, kept: distances.Rows) -> None:
        if not candidate.only_losses:
            await super()._measure_candidate(candidate, window, kept)
        elif (found := await self._attempt(candidate, self._losses(candidate, window))) is not None:
            candidate.window_losses.append(found)

    async def _losses(self, candidate: Measured, window: Window) -> Values:
        """Return the log-loss of the answer, which may have other tokens for the candidate, in equal shares for the tokens of
        the reference. At the end of the answer, which the text does not contain, both have the same."""
        assert isinstance(window, AnswerPart)
        request = paragone.ScoreRequest(text=window.text)

        async def read(opened: paragone.OpenEngine) -> list[paragone.Token]:
            async with contextlib.aclosing(opened.score(request)) as events:
                return [event async for event in events if isinstance(event, paragone.Token)]

        loss, left = 0.0, window.size
        for token in reversed(await candidate.engine.use(read, self._stopped)):
            if left <= 0:
                break
            loss -= token.logprob or 0.0
            left -= token.n_bytes or 0
        if left > 0:
            raise paragone.EngineError(f"{candidate.name} returned too few log-probabilities of an answer.")
        found = np.full(len(window.targets), loss / max(window.length, 1))
        ends = window.first + len(window.targets) - window.length
        found[len(found) - max(ends, 0) :] = self.reference.window_losses[-1][len(found) - max(ends, 0) :]
        return found

    async def _windows(self, measured: Measured) -> list[Window]:
        await asyncio.gather(*(other.engine.opened() for other in self.measured))
        engines = [other.engine for other in self.measured if other.engine.is_open]
        context = min(engine.require_open().context or math.inf for engine in engines)
        conversations: dict[str, int] = {}
        parts: list[AnswerPart] = []
        size = 0
        known = measured.engine.capabilities
        end = await measured.engine.use(_end_of_turn) if known.token_ids and known.score else None
        for number, turn in enumerate(self.turns):
            answer = await self._answer(measured, number, turn)
            if answer is None or len(answer.ids) > context:
                continue
            unit = conversations.setdefault(turn.conversation or f"#{turn.index}", len(conversations))
            size += len(answer.text.encode())
            whole = (*answer.ids, *([] if end is None or not answer.is_whole else [end]))
            parts += [
                AnswerPart(
                    ids=tuple(whole[: min(at + PART, len(whole)) - 1]),
                    start=at - 1,
                    targets=np.array(whole[at : at + PART], dtype=np.int64),
                    unit=unit,
                    turn=turn,
                    first=at - answer.start,
                    text=answer.prompt + answer.text,
                    size=len(answer.text.encode()),
                    length=len(answer.ids) - answer.start,
                )
                for at in range(answer.start, len(whole), PART)
            ]
        if not parts:
            raise paragone.InputError(
                f"There is no answer to measure: the answers to {counted(len(self.turns), 'prompt')} are empty, or exceed "
                "the context of an engine.",
                hint="Set a larger context, such as -s n_ctx=8192.",
            )
        measured.tokens = sum(len(part.targets) for part in parts)
        if measured is self.reference:
            self.parts, self.text_bytes = parts, size
            self.skipped = len(self.turns) - len({part.turn.index for part in parts})
        return [*parts]

    async def _answer(self, measured: Measured, number: int, turn: ConversationTurn) -> _Answer | None:
        text, run = turn.answer, None
        if not self.recorded:
            run = self.greedy.get(number)
            text = None if run is None else run.text
        if text is None:
            return None
        is_whole = run is None or run.finish == "stop"
        if run is not None and measured is self.reference and run.settings is not None:
            prompt = run.settings.prompt_ids
            if prompt:
                own = [token.id for token in run.tokens if token.id is not None]
                known = measured.engine.capabilities
                written = run.thinking + run.text
                if known.token_ids and known.score:  # with the tags of a thinking block
                    written = await _Texts(measured.engine).of(*own)
                return _Answer(run.settings.prompt or "", written, (*prompt, *own), len(prompt), is_whole)
        request = paragone.TokenizeRequest(messages=turn.messages, sampling=measured.engine.sampling)
        rendered = await measured.engine.use(lambda opened: opened.tokenize(request))
        if rendered.text is None:
            raise paragone.InputError(f"{measured.name} does not report what its chat template renders.")
        given = paragone.TokenizeRequest(text=rendered.text + text)
        ids = (await measured.engine.use(lambda opened: opened.tokenize(given))).ids
        # a token with the end of the prompt and the start of the answer counts as part of the answer
        return _Answer(rendered.text, text, ids, common_length(rendered.ids, ids), is_whole)


async def _end_of_turn(opened: paragone.OpenEngine) -> int | None:
    """Return the token with which the chat template ends an answer; None if the template shows none."""
    user = paragone.Message(role="user", text="A")
    answered = (user, paragone.Message(role="assistant", text="B"), user)
    before = (await opened.tokenize(paragone.TokenizeRequest(messages=(user,)))).text
    whole = (await opened.tokenize(paragone.TokenizeRequest(messages=answered))).text
    if before is None or whole is None or not whole.startswith(before + "B"):
        return None
    rest = paragone.TokenizeRequest(text=whole[len(before) + 1 :], bos=False)
    return next(iter((await opened.tokenize(rest)).ids), None)


class ConversationComparison(Comparison):
    """A comparison of engines over the answers of conversations."""

    fidelity: ConversationFidelity

    def __init__(
        self,
        registry: Registry,
        engines: Sequence[EngineDefinition],
        turns: Sequence[ConversationTurn],
        *,
        recorded: bool,
        answering_s: float = math.inf,
    ) -> None:
        """After `answering_s` seconds, the reference begins no further answer, so that there is time to score its answers."""
        super().__init__(registry, engines, "", [turn.messages for turn in turns])
        self._answering_s = answering_s
        reference, *candidates = self.engines
        self.fidelity = ConversationFidelity(reference, candidates, turns, recorded=recorded)

    async def measure(self, on_step: Callable[[MeasurementStep], None]) -> None:
        """Let the reference answer unless the answers are recorded, then measure the distributions."""
        reference = self.engines[0]
        if not self.fidelity.recorded:
            await self._ask_all([reference], on_step, time.monotonic() + self._answering_s)
            self.fidelity.greedy = self.answers[reference]
        if not self.stopped:
            try:
                await self.fidelity.measure(on_step)
            except paragone.ParagoneError as error:
                self.refused = None if self.stopped else error
        if answering := self.fidelity.answering:
            await self._ask_all([*([reference] if self.fidelity.recorded else ()), *answering], on_step)

    async def _ask_all(
        self,
        engines: Sequence[EngineTask],
        on_step: Callable[[MeasurementStep], None],
        end: float = math.inf,
    ) -> None:
        total = len(self.prompts)
        for done, (number, engine) in enumerate(itertools.product(range(total), engines)):
            if (
                self.stopped
                or time.monotonic() > end
                or (engine in self.answer_errors and not engine.is_open)
            ):
                continue
            on_step(MeasurementStep("prompt", done, total * len(engines), number + 1, total))
            await self._ask(engine, number, prompt_ids=engine is self.engines[0])
            if isinstance(self.answer_errors.get(engine), paragone.ContextOverflow):
                del self.answer_errors[engine]  # this turn is skipped

    @property
    def cautions(self) -> tuple[str, ...]:
        why = () if self.fidelity.parts else (candidate.reason for candidate in self.fidelity.candidates)
        return (*dict.fromkeys(why), *super().cautions)

    @property
    def compared_answers(self) -> Mapping[EngineTask, Mapping[int, RunResult]]:
        answering = self.fidelity.answering
        engines = [self.engines[0], *answering] if answering else []
        return {engine: self.answers[engine] for engine in engines}

    def to_json(self, *, text: str | None, prompts: str | None) -> dict[str, Json]:
        data = conversations_json(self.fidelity, prompts)
        return {"text": text, **data, "free_running": self.free_running_json(prompts)}


_ANSWERS = "The greedy answers are compared."


_CONTEXT, _AFTER = 400, 40
"""Number of characters before a place, and of tokens from the place on, that are kept."""


class _Texts:
    """The texts of tokens, in the words of the reference."""

    def __init__(self, engine: EngineTask) -> None:
        self._engine = engine
        self._known: dict[tuple[int, ...], str] = {}

    async def of(self, *ids: int) -> str:
        if ids and ids not in self._known:
            request = paragone.TokenizeRequest(ids=ids)
            self._known[ids] = (await self._engine.use(lambda opened: opened.tokenize(request))).text or ""
        return self._known.get(ids, "")

    async def alternatives(self, tokens: Sequence[tuple[int, float]]) -> list[Json]:
        return [{"text": await self.of(token), "id": token, "logprob": logprob} for token, logprob in tokens]


async def _place(place: WorstPlace, texts: _Texts) -> dict[str, Json]:
    part = place.window
    assert isinstance(part, AnswerPart)
    begin, at = part.start + 1 - part.first, part.start + 1 + place.position
    return {
        "conversation": part.turn.conversation,
        "prompt": part.turn.index,
        "question": part.turn.messages[-1].text,
        "token": part.first + place.position,
        "kld": place.kld,
        "before": (await texts.of(*part.ids[begin:at]))[-_CONTEXT:],
        "following": await texts.of(*part.targets[place.position :][:_AFTER].tolist()),
        "reference": await texts.alternatives(place.reference),
        "candidate": await texts.alternatives(place.candidate),
    }


def conversations_json(fidelity: ConversationFidelity, suite: str | None) -> dict[str, Json]:
    """Return a measurement with the conversations as units, which `windows` counts."""
    data = fidelity_verdict.fidelity_json(fidelity)
    candidates = zip(fidelity.candidates, objects_at(data, "candidates"), strict=True)
    return {
        **data,
        "suite": {
            "name": suite,
            "answers": "recorded" if fidelity.recorded else "greedy",
            "turns": len(fidelity.turns),
            "scored": len({part.turn.index for part in fidelity.parts}),
            "skipped": fidelity.skipped,
        },
        "candidates": [
            {
                **found,
                "divergence": _divergence(fidelity, candidate),
                "by_tag": list(_by_tag(fidelity, candidate)),
                "places": fidelity.places.get(candidate, []),
            }
            for candidate, found in candidates
        ],
    }


def _divergence(fidelity: ConversationFidelity, candidate: Measured) -> Json:
    """Return the number of `answers`, and how many tokens precede the first at which the candidate would have chosen
    another token than the reference: quartiles, null where the answer ends before. `never` counts the answers without
    such a token."""
    known = [same for same, _ in candidate.top or ()] or [scores.same_top for scores in candidate.scores]
    answers = distances.by_unit(
        (part.turn.index, same) for part, same in zip(fidelity.parts, known, strict=False)
    )
    if not answers:
        return None
    firsts = [float(np.argmin(same)) if not same.all() else math.inf for same in answers]
    quartiles = np.quantile(firsts, (0.25, 0.5, 0.75), method="lower").tolist()
    names = ("p25", "median", "p75")
    return {
        "answers": len(firsts),
        "never": firsts.count(math.inf),
        **{name: int(it) if it < math.inf else None for name, it in zip(names, quartiles, strict=True)},
    }


def _by_tag(fidelity: ConversationFidelity, candidate: Measured) -> Iterator[dict[str, Json]]:
    measured = [*zip(fidelity.parts, candidate.scores, strict=False)]
    for tag in sorted({tag for part, _ in measured for tag in part.turn.tags}):
        tagged = [(part.unit, scores) for part, scores in measured if tag in part.turn.tags]
        kld = distances.by_unit((unit, scores.kld) for unit, scores in tagged)
        same = distances.mean(distances.by_unit((unit, scores.same_top) for unit, scores in tagged))
        yield {
            "tag": tag,
            "conversations": len(kld),
            "tokens": sum(map(len, kld)),
            **fidelity_verdict.estimate_json("mean_kld", distances.mean(kld)),
            "top1_agreement": same and same.value,
            "top1_se": same and same.error,
        }


def worst_forks(measurements: Iterable[Measurement], candidate: EngineDefinition) -> tuple[Fork, ...]:
    """Return the worst places of the candidate's model in the newest measurement over a suite; empty if there is none.
    `measurements` begin with the newest."""
    over_suites = (found for found in measurements if found.data.get("suite"))
    saved = fidelity_verdict.saved_fidelity(over_suites, candidate.backend, candidate.model)
    if saved is None:
        return ()
    found, measurement = saved
    engines = {"reference": measurement.engines[0], "candidate": candidate}
    return tuple(
        Fork(
            sides=tuple(_fork_side(place, side, engine) for side, engine in engines.items()),
            place=Divergence(token=count_at(place, "token")),
            before=text_at(place, "before"),
            prompt=text_at(place, "question"),
        )
        for place in objects_at(found, "places")
    )


def _fork_side(place: Mapping[str, Json], side: str, engine: EngineDefinition) -> ForkSide:
    """Return the token that the engine would have chosen; before it and, if the answer has it, after it the answer."""
    top = tuple(from_json(paragone.Alternative, choice) for choice in objects_at(place, side))
    own, following = top[0], text_at(place, "following")
    texts = text_at(place, "before"), following[len(own.text) :] if following.startswith(own.text) else ""
    before, after = (paragone.Token(text=text, time=0) for text in texts)
    chosen = paragone.Token(text=own.text, id=own.id, logprob=own.logprob, top=top, time=0)
    answer = RunResult(id="", definition=engine, started=0, tokens=(before, chosen, after))
    return ForkSide(name=engine.name, answer=answer, index=1)
