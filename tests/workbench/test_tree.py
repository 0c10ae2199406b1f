"""The conversation as a tree: branches, and what applies along a path."""

from tests.workbench.conversation_writer import result_of
from tests.workbench.lane_helpers import answers, opened

from paragone import Message
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.context import messages_for, path_to
from paragone_workbench.runs.run import Run

ENGINE = EngineDefinition(name="it", backend="rogue", model="steady")


def run(prompt: Prompt, text: str, continues: Run | None = None) -> Run:
    return Run(result_of(ENGINE, text), prompt=prompt, continues=continues)


def test_a_branch_has_its_own_ancestors():
    conversation = Conversation()
    first = conversation.add(Prompt(text="first"))
    conversation.add(Prompt(text="second", parent=first))
    edited = conversation.add(Prompt(text="edited", parent=first))
    assert list(edited.with_ancestors()) == [edited, first]


def test_system_prompt_and_sampling_apply_from_their_prompt_on():
    first = Prompt(text="1", system="Be brief.", sampling={"temperature": 0})
    second = Prompt(text="2", parent=first)
    third = Prompt(text="3", parent=second, system="", sampling={"temperature": 1})
    fourth = Prompt(text="4", parent=third)
    path = [first, second, third, fourth]
    assert [it.system_in_force for it in path] == ["Be brief.", "Be brief.", "", ""]
    assert [it.sampling_in_force.get("temperature") for it in path] == [0, 0, 1, 1]
    assert Prompt(text="alone").system_in_force == ""
    assert Prompt(text="alone").sampling_in_force == {}


def test_the_messages_of_a_run_include_the_runs_that_it_continues():
    first = Prompt(text="1", system="Be brief.")
    second = Prompt(text="2", parent=first)
    one, again = run(first, "one"), run(first, "uno")
    failed = run(second, "", one)
    third = Prompt(text="3", parent=second)
    assert path_to(failed) == (one, failed)
    assert messages_for(third, failed) == (
        Message(role="system", text="Be brief."),
        Message(role="user", text="1"),
        Message(role="assistant", text="one"),
        Message(role="user", text="3"),
    )
    assert messages_for(second, again)[2].text == "uno", "the other variant has its own path"


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
