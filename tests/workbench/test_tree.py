"""The conversation as a tree: branches, and what applies along a path."""

from tests.workbench.lane_helpers import answers, opened

from paragone_workbench.conversation.tree import Prompt


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
