"""The measurements of a choice, on the scripted backend, which is a test double."""

import asyncio
import dataclasses

import pytest
import scripted_backend
from tests.workbench.history_file import open_history
from tests.workbench.suites import asked, engine, suite

from paragone import Json
from paragone_workbench.choosing.choice import Choice, ChoiceEvent
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.known_measurements import known_fidelity
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite import AssertionSpec, SuiteRequest
from paragone_workbench.measure.free_running import Comparison
from paragone_workbench.store import History, StoreError
from paragone_workbench.store.votes import Measurement

HAS_X = AssertionSpec(type="contains", options={"value": "X"})


class Heard(list[ChoiceEvent]):
    """Keeps the events."""

    __call__ = list.append

    @property
    def said(self) -> list[str]:
        return [event for event in self if isinstance(event, str)]

    @property
    def rounds(self) -> list[int]:
        return [len(it.request.chosen or ()) for it in self if isinstance(it, SuiteRunner)]


class Choices:
    """Begins choices among engines by prompts, in one history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.heard = Heard()

    def __call__(self, prompts, *engines, **more) -> Choice:
        return Choice(
            history=self.history,
            registry=Registry(),
            catalog=load_assertions(),
            request=SuiteRequest(suite=suite(*prompts, assertions=[HAS_X]), engines=engines),
            on_event=self.heard,
            **more,
        )


@pytest.fixture
async def choose():
    history = await open_history()
    yield Choices(history)
    await history.close()


def words(count: int) -> list[str]:
    return [f"x{number}" for number in range(count)]


async def measured(choice: Choice) -> list[str]:
    """What the engines were asked while the choice measured."""
    before = len(scripted_backend.EVENTS)
    try:
        await choice.measure()
    finally:
        await choice.close()
    return asked(scripted_backend.EVENTS[before:])


async def test_an_additional_prompt_needs_only_new_answers(choose):
    a, b = engine("a"), engine("b")
    first = await measured(choose(words(20), a, b))
    assert len([question for question in first if question.startswith("a: x")]) >= 20
    again = choose([*words(20), "x more"], a, b)
    assert sorted(it for it in await measured(again) if "x" in it) == ["a: x more", "b: x more"]
    assert again.taken == 40
    assert choose.heard.said[-1].startswith("40 of 42 answers are known")


@pytest.fixture
def sizes(monkeypatch) -> None:
    """The models' weights get smaller in the order of the alphabet."""
    opened = scripted_backend.ScriptedBackend.open

    async def with_size(backend, request, on_progress):
        found = await opened(backend, request, on_progress)
        found.loaded = dataclasses.replace(found.loaded, size=1000 - ord(request.model[0]))
        return found

    monkeypatch.setattr(scripted_backend.ScriptedBackend, "open", with_size)


class AnswersClock:
    """A clock that goes on by a second with each answer."""

    def monotonic(self) -> float:
        return float(sum(event.startswith("end") for event in scripted_backend.EVENTS))


async def test_with_little_time_all_engines_answer_the_same_spread_out_prompts(choose, sizes, monkeypatch):
    monkeypatch.setattr("paragone_workbench.choosing.choice.time", AnswersClock())
    choice = choose(words(200), engine("a"), engine("b"), seconds=130, margin=0.001)
    await measured(choice)
    assert list(choice.unfinished()) == ["Repeat the command to continue with the suite."]
    states = await choose.history.call(lambda store: store.experiments.states(1, 0, 199))
    a, b = ({key.prompt_index for key in states if key.engine_index == index} for index in (0, 1))
    assert a == b
    assert min(a) < 50
    assert max(a) >= 150


async def test_with_limited_time_rounds_continue_until_the_question_is_settled(choose, sizes):
    a, b, c = engine("a"), engine("b"), engine("c")
    limits = {"seconds": 3600, "margin": 0.3}
    choice = choose(words(100), a, b, **limits)
    await measured(choice)
    decision = await choice.decide()
    assert (choose.heard.rounds, decision.chosen, decision.headline) == ([20, 20], "b", "Deploy b.")
    assert (list(choice.unfinished()), choice.experiment.left) == ([], 120)
    work = [type(it) for it in choose.heard if isinstance(it, Comparison | SuiteRunner)]
    assert work[:2] == [SuiteRunner, Comparison], "what decides comes first"
    assert await measured(choose(words(100), a, b, **limits)) == []
    again = await measured(choose(words(100), a, b, c, **limits))
    assert not any(question.startswith("b: ") for question in again), (
        "c answers what the others have answered"
    )


async def test_an_engine_that_does_not_fit_is_skipped_and_another_chosen(choose):
    big = engine("big", free=1)
    choice = choose(words(6), big, engine("a"))
    assert await measured(choice) == []
    (said,) = choose.heard.said
    assert said.startswith("big does not fit: it needs ")
    decision = await choice.decide()
    assert (decision.chosen, choice.left_out) == ("a", [said])
    assert decision.reasons == ("No other engine fits. Nothing was measured.",)


class StopAt:
    """Stops a choice in a phase."""

    def __init__(self, phase: str, choice: Choice) -> None:
        self._phase, self._choice = phase, choice
        self.stopping: asyncio.Task | None = None
        choice.on_event = self

    def _at(self, phase: str) -> None:
        if phase == self._phase and self.stopping is None:
            self.stopping = asyncio.create_task(self._choice.stop())

    def __call__(self, event: ChoiceEvent) -> None:
        match event:
            case SuiteRunner():
                self._runner = event
                event.notify = self._notified

    def _notified(self, remark: str) -> None:
        if sum(progress.done for progress in self._runner.progress) >= 3:
            self._at("answered")
        if "judge" in self._runner.doing:
            self._at("judging")


@pytest.mark.thorough
@pytest.mark.parametrize("phase", ["answered", "judging"])
async def test_a_choice_can_be_continued_after_a_stop_in_any_phase(choose, phase):
    def judged() -> Choice:
        choice = choose(words(20), engine("a", delay_s=0.002), engine("b", delay_s=0.002))
        judge = AssertionSpec(type="judge", options={"engine": "judge", "criterion": "good"})
        prompts = suite(*words(20), assertions=[HAS_X, judge])
        judges = {"judge": engine("judge", delay_s=0.002)}
        choice.request = dataclasses.replace(choice.request, suite=prompts, judges=judges)
        return choice

    stopped = judged()
    observer = StopAt(phase, stopped)
    before = await measured(stopped)
    assert observer.stopping is not None, "the phase comes"
    await observer.stopping
    early = await stopped.decide()
    assert len(early.figures) == 2
    assert early.prompts < early.planned

    again = judged()
    after = await measured(again)
    decision = await again.decide()
    assert (decision.prompts, decision.planned, decision.chosen) == (20, 20, "a")
    assert decision.figures[1].greedy_answers >= 10
    assert list(again.unfinished()) == []
    verdicts = [question for question in before + after if question.startswith("judge: ")]
    assert len(set(verdicts)) == 20


# ── What is known ─────────────────────────────────────────────────────────────────────────────


async def test_answers_before_a_failure_are_kept(choose, monkeypatch):
    run = SuiteRunner.run

    async def failing(runner: SuiteRunner) -> None:
        await run(runner)
        runner.failure = StoreError("The history is locked.")

    monkeypatch.setattr(SuiteRunner, "run", failing)
    choice = choose(words(3), engine("a"), engine("b"))
    with pytest.raises(StoreError):
        await measured(choice)
    (experiment,) = await choose.history.call(lambda store: store.experiments.all())
    assert experiment.done == 6


@pytest.mark.thorough
async def test_a_decision_and_its_report_count_the_same_windows(choose, monkeypatch):
    found: Json = {"candidates": [{"engine": "b", "windows": 3, "mean_kld": 0.1}]}
    monkeypatch.setattr(Comparison, "to_json", lambda *_, **__: found)
    choice = choose(words(20), engine("a"), engine("b"))
    await measured(choice)
    _, b = (await choice.decide()).figures
    assert b.kld is None, "of 3 windows, the report shows none"
    (saved,) = await choose.history.call(lambda store: store.measurements.all("fidelity"))
    assert saved.data == found


def test_fidelity_is_used_only_for_the_same_reference_text_and_window():
    candidates: Json = [{"engine": "b", "windows": 5, "mean_kld": 0.1}, {"engine": "c", "windows": 2}]
    greedy: Json = {"candidates": [{"candidate": "b", "prompts": 12, "identical": 3}]}
    data: dict[str, Json] = {"text": None, "window": 512, "candidates": candidates, "free_running": greedy}
    engines, identities = (engine("a"), engine("b"), engine("c")), ("A", "B", "C")
    saved = Measurement(kind="fidelity", engines=engines, data=data, created=1, identities=identities)
    wanted = {"a": "A", "b now": "B", "c": "C"}
    candidates_now, answers = known_fidelity([saved], wanted, "a", 10)
    assert {name: item["mean_kld"] for name, item in candidates_now.items()} == {"b now": 0.1}
    assert answers["b now"]["identical"] == 3
    for other in (
        dataclasses.replace(saved, data={**data, "text": "mine.txt"}),
        dataclasses.replace(saved, data={**data, "window": 128}),
        dataclasses.replace(saved, identities=("changed", "B", "C")),
        dataclasses.replace(saved, identities=()),
    ):
        assert known_fidelity([other], wanted, "a", 10)[0] == {}
