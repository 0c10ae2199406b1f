"""What differs between lanes is marked, and the place where answers part can be looked at."""

import dataclasses

import pytest
from rogue_backend.definitions import rogue

from paragone import Alternative, Token
from paragone_tui.screens.divergence import DivergenceSheet
from paragone_workbench.compare.divergence import Divergence, fork_of
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run


def marked(screen, number, look="differs"):
    """The parts of a lane's last answer that have a mark; none before the answer begins."""
    answers = [it for it in screen.columns[number].transcript.blocks if it.kind == "answer"]
    return [
        block.text[mark.start : mark.end]
        for block in answers[-1:]
        for layer in block._layers
        for mark in layer
        if mark.look == look
    ]


async def test_words_that_differ_are_marked_while_they_stream(start):
    slow = {"rate": 20, "max_tokens": 1000}
    async with start(rogue("steady", "a", **slow), rogue("escapes", "b", **slow)) as screen:
        await screen.ask("go")
        await screen.until(lambda: marked(screen, 1), "the second lane has marks")
        assert [lane.state for lane in screen.lanes] == ["writing", "writing"]
        assert marked(screen, 0) == []
        await screen.press("ctrl+c")
        await screen.answered()


async def test_equal_answers_have_no_marks(start):
    async with start(rogue("steady", "a"), rogue("steady", "b")) as screen:
        await screen.press("alt+v")
        await screen.until(lambda: "not answered the same prompt" in screen.told)
        await screen.ask("go")
        await screen.answered()
        assert [marked(screen, 0), marked(screen, 1)] == [[], []]
        await screen.press("alt+v")
        await screen.until(lambda: "do not differ" in screen.told)


@pytest.mark.parametrize("at", [0, 3])
async def test_an_answer_ended_by_a_crash_is_not_reported_as_equal(start, at):
    async with start(rogue("steady", "a"), rogue("killed", "b", at=at)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.press("alt+v")
        await screen.until(lambda: "The last prompt has no complete answer of b; " in screen.told)


async def test_another_lane_can_be_the_reference(start):
    async with start(rogue("steady", "a"), rogue("wide", "b", max_tokens=2)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.until(lambda: marked(screen, 1) == ["語0😀 語1😀"])
        assert "▸ ◆ a" in screen.text
        await screen.press("tab", "escape", "equals_sign")
        await screen.until(lambda: marked(screen, 0) == ["word0 word1 word2 word3 word4"])
        assert marked(screen, 1) == []
        assert "▸ ◆ b" in screen.text
        await screen.press("alt+D")
        await screen.until(lambda: not marked(screen, 0))
        assert "◆" not in screen.text
        await screen.press("alt+D")
        await screen.until(lambda: marked(screen, 0))
        await screen.press("f9", "y")
        await screen.until(lambda: len(screen.columns) == 1)
        assert screen.app.lanes.lanes.differences.reference is screen.lanes[0]
        await screen.until(lambda: marked(screen, 0) == [])


async def test_a_variant_is_compared_again(start):
    async with start(rogue("steady", "a"), rogue("wide", "b", max_tokens=2)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.press("tab", "f5")
        await screen.answered()
        await screen.until(lambda: marked(screen, 1) == ["語0😀 語1😀"])
        await screen.press("alt+left")
        await screen.until(lambda: "1/2" in screen.text and marked(screen, 1))
        await screen.press("ctrl+n")
        await screen.ask("again")
        await screen.answered()
        await screen.until(lambda: marked(screen, 1) == ["語0😀 語1😀"])


async def test_without_tokens_the_first_different_character_is_shown(start):
    async with start(rogue("steady", "a"), rogue("wide", "b"), rogue("wide", "c"), size=(120, 40)) as screen:
        await screen.ask("go")
        await screen.answered()
        await screen.press("alt+v")
        await screen.until(lambda: type(screen.app.screen).__name__ == "DivergenceSheet")
        await screen.until(lambda: "the vocabularies may differ" in screen.text)
        assert "Where b diverges from a" in screen.text
        await screen.press("greater_than_sign")
        await screen.until(lambda: "The answers diverge only at this place." in screen.text)
        await screen.press("v")
        assert screen.app.screen is screen.app.lanes


def smol(path, name):
    options = {"n_threads": 1, "n_ctx": 1024, "temperature": 0.0, "seed": 1, "max_tokens": 24}
    return EngineDefinition(name=name, backend="llama_cpp", model=str(path), options=options)


async def test_two_quantizations_diverge_at_the_marked_token(start, smollm2, smaller_smollm2):
    engines = smol(smollm2, "Q4_1"), smol(smaller_smollm2, "Q4_0")
    async with start(*engines, size=(120, 40)) as screen:
        await screen.ask("Why is the sky blue?")
        await screen.answered()
        await screen.press("tab", "escape", "equals_sign")
        await screen.until(lambda: all(lane.engine.known_vocabulary for lane in screen.lanes))
        runs = [lane.path[-1] for lane in screen.lanes]
        at = next(
            number
            for number, (one, other) in enumerate(zip(*(run.result.tokens for run in runs), strict=False))
            if one.id != other.id
        )
        wanted = [[run.result.tokens[at].text] for run in runs]
        await screen.until(lambda: [marked(screen, lane, "diverges") for lane in (0, 1)] == wanted)
        before = "".join(token.text for token in runs[0].result.tokens[:at])
        assert all(run.text.startswith(before) for run in runs)
        assert runs[0].text[: len(before) + 2] != runs[1].text[: len(before) + 2]
        for lane, run in enumerate(runs):
            spans = [
                mark for layer in transcript_layers(screen, lane) for mark in layer if mark.look == "diverges"
            ]
            assert [(mark.start, mark.end) for mark in spans] == [
                (len(before), len(before) + len(run.result.tokens[at].text))
            ]
        await screen.press("v")
        await screen.until(lambda: type(screen.app.screen).__name__ == "DivergenceSheet")
        for run in runs:
            assert len(run.result.tokens[at].top) == 5
            assert f"“{run.result.tokens[at].text}”" in screen.text
        assert screen.text.count("It was ") == 2
        assert screen.text.count("% ◂") == 2, "the tokens that the engines chose"
        sheet = screen.app.screen
        colors = {span.style for span in sheet.content.content.spans}
        screen.app.theme = "textual-light"
        await screen.until(lambda: colors != {span.style for span in sheet.content.content.spans})
        choice = sheet._side.choices[sheet._row]
        assert not sheet._side.is_own(choice), "another token than the engine's own is selected"
        await screen.press("b")
        await screen.until(lambda: [len(lane.record.runs) for lane in screen.lanes] == [2, 2])
        await screen.answered()
        for lane, run in zip(screen.lanes, runs, strict=True):
            again = lane.path[-1]
            assert again.text.startswith(before + choice.text)
            assert len(again.text) > len(before) + 20
            assert again.result.tokens[:at] == run.result.tokens[:at]
            assert again.result.prefilled.chosen == choice.text
            assert lane.variants(again) == (run, again), "the earlier answer is kept"
        assert screen.text.count(f"Continues from the chosen token “{choice.text}”.") == 2
        await screen.press("p")
        await screen.until(lambda: any(look.startswith("heat") for look in looks(screen, 1)))
        await screen.press("p")
        await screen.until(lambda: not any(look.startswith("heat") for look in looks(screen, 1)))


def answer_of(name: str, *texts: str) -> RunResult:
    run = Run.of(rogue("steady", name))
    run.result = dataclasses.replace(run.result, manifest={"request": {"logprobs": 1}})
    for text in texts:
        run.keep(Token(text=text, logprob=-0.5, top=(Alternative(text=text, logprob=-0.5),), time=0.0))
        run.add("answer", text)
    return run.result


async def test_keys_step_through_forks_and_a_single_lane_has_none(start):
    reference = ("a", answer_of("a", "The", " sky", " is", " blue"), None)
    early = ("b", answer_of("b", "The", " sea"), Divergence(token=1, char=4))
    late = ("c", answer_of("c", "The", " sky", " was"), Divergence(token=2, char=8))
    forks = [fork_of([reference, early, late]), fork_of([reference, late, early])]
    chosen = []
    async with start(rogue("steady", "a")) as screen:
        await screen.press("alt+v")
        await screen.until(lambda: "no other lane to compare with" in screen.told)
        await screen.press("alt+p")
        await screen.until(lambda: "does not report the probabilities" in screen.told)
        screen.app.clear_notifications()
        await screen.press("escape", "V")
        await screen.until(lambda: "There is no other lane to compare with" in screen.told)
        screen.app.push_screen(DivergenceSheet("Why?", forks, 0, lambda *choice: chosen.append(choice)))
        await screen.until(lambda: "Token 2: where b diverges from a · fork 1 of 2" in screen.text)
        assert "< > fork" in screen.text
        await screen.press("less_than_sign")
        await screen.until(lambda: "This is the first fork." in screen.text)
        await screen.press("greater_than_sign")
        await screen.until(lambda: "Token 3: where c diverges from a · fork 2 of 2" in screen.text)
        await screen.press("greater_than_sign")
        await screen.until(lambda: "This is the last fork." in screen.text)
        await screen.press("enter")
        await screen.until(lambda: chosen)
        assert chosen[0][0] is forks[1]
        assert chosen[0][1].text == " was"


def transcript_layers(screen, number):
    return next(
        it for it in reversed(screen.columns[number].transcript.blocks) if it.kind == "answer"
    )._layers


def looks(screen, number):
    return {mark.look for layer in transcript_layers(screen, number) for mark in layer}
