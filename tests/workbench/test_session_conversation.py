"""The shared conversation, and the part of it that the engine of each lane gets."""

from tests.workbench.lane_helpers import answers, opened, words

from paragone import Message


def said(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]


async def test_each_lane_keeps_its_own_answers_to_shared_prompts(session, rogue):
    session.system_prompt.change("Be brief.")
    one, other = await opened(session, rogue(max_tokens=1), rogue("wide", max_tokens=1))
    await answers(session, "a b")
    await answers(session, "c")
    last = session.prompts[-1]
    system, first, second = ("system", "Be brief."), ("user", "a b"), ("user", "c")
    assert said(one.answer(last).spec.messages) == [system, first, ("assistant", "word0 "), second]
    assert said(other.answer(last).spec.messages) == [system, first, ("assistant", "語0😀 "), second]
    # the engines got these messages: the prompt has one token per word, and one more per message
    assert [lane.answer(last).result.metrics.prompt_tokens for lane in session.lanes] == [10, 10]


async def test_a_lane_added_later_is_empty_and_can_answer_the_last_prompt(session, rogue):
    await opened(session, rogue(max_tokens=1))
    await answers(session, "early")
    (late,) = await opened(session, rogue(max_tokens=1))
    assert late.path == ()
    session.regenerate(late)
    await session.answered()
    assert [late.answer(session.prompts[0]).text] == [words(1)], "the new lane can answer the last prompt"
    (later,) = await opened(session, rogue(max_tokens=1))
    assert await answers(session, "later") == [words(1)] * 3
    prompt = session.prompts[-1]
    assert said(late.answer(prompt).spec.messages)[0] == ("user", "early")
    assert said(later.answer(prompt).spec.messages) == [("user", "later")]
    assert [lane.answer(prompt).result.metrics.prompt_tokens for lane in session.lanes] == [6, 6, 2]


async def test_answering_again_uses_the_last_prompt_of_the_lane(session, rogue):
    one, other = await opened(session, rogue(max_tokens=1), rogue("wide", max_tokens=1))
    await answers(session, "both")
    session.send("one alone", lanes=[one])
    await session.answered()
    run = session.regenerate(other)
    await session.answered()
    assert run.prompt.text == "both"
    first = one.path[0]
    session.select(one, first)
    again = session.regenerate(one)
    await session.answered()
    assert again.prompt.text == "both", "it answers the prompt at the end of the lane's path"
