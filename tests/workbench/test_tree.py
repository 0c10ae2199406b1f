"""The conversation as a tree: branches, and what applies along a path."""

from tests.workbench.conversation_writer import SMOL
from tests.workbench.lane_helpers import answers, opened

from paragone_workbench.conversation.tree import Prompt, SystemPrompt
from paragone_workbench.runs.context import messages_for
from paragone_workbench.runs.result import RunResult, RunState
from paragone_workbench.runs.run import Run


def test_system_prompt_and_sampling_apply_from_their_prompt_on():
    first = Prompt(text="1", system="Be brief.", sampling={"temperature": 0})
    second = Prompt(text="2", parent=first)
    third = Prompt(text="3", parent=second, system="", sampling={"temperature": 1})
    fourth = Prompt(text="4", parent=third)
    path = [first, second, third, fourth]
    assert [it.active_system for it in path] == ["Be brief.", "Be brief.", "", ""]
    assert [it.active_sampling.get("temperature") for it in path] == [0, 0, 1, 1]
    assert Prompt(text="alone").active_system == ""
    assert Prompt(text="alone").active_sampling == {}


def test_a_new_conversation_has_the_default_after_a_reopened_one_without_a_system_prompt():
    system = SystemPrompt("Be brief.")
    system.change("")
    plain = Prompt(text="1", system=system.of_new_prompt(None))
    system.begin_after(plain)
    assert system.after(None) == "", "the user removed it"
    system.reopen_after(plain)
    assert system.after(plain) == ""
    system.begin_after(plain)
    assert system.after(None) == "Be brief."
    system.reopen_after(Prompt(text="2", parent=plain, system="Answer in Dutch."))
    system.begin_after(None)
    assert system.after(None) == "Be brief."


async def test_sampling_along_the_path_reaches_the_engine(session, rogue):
    (lane,) = await opened(session, rogue(max_tokens=3))
    await answers(session, "first")
    prompt = session.conversation.add(
        Prompt(text="second", parent=session.prompts[-1], sampling={"max_tokens": 1})
    )
    run = lane.ask(prompt)
    await lane.answered()
    assert run.text == "word0 "
    assert await answers(session, "third") == ["word0 "], "and to the runs that follow"
    assert session.prompts[-1].parent is prompt
    assert lane.path[0].text == "word0 word1 word2 "


def test_empty_answers_are_dropped_and_text_before_a_failure_is_kept():
    before = None
    runs: list[tuple[str, str, RunState]] = [
        *(("a", "", "stopped"), ("b", "half", "failed"), ("c", "whole", "done"))
    ]
    for prompt, answer, state in runs:
        result = RunResult(id=prompt, definition=SMOL, started=1.0, state=state, text=answer)
        before = Run(result, prompt=Prompt(text=prompt), continues=before)
    assert [(message.role, message.text) for message in messages_for(Prompt(text="d"), before)] == [
        *(("user", "b"), ("assistant", "half"), ("user", "c"), ("assistant", "whole"), ("user", "d"))
    ]
