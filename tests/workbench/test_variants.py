"""Variants: several answers to a prompt, and prompts that were edited, all kept."""

import dataclasses

from tests.workbench.lane_helpers import answers, opened, words

from paragone_workbench.lanes.variants import other_author, tree


def texts(lane):
    return [(run.prompt.text, run.text) for run in lane.path]


async def test_stepping_between_answers(session, rogue):
    (lane,) = await opened(session, rogue(max_tokens=1))
    assert not session.step(lane, 1), "there are no variants yet"
    await answers(session, "hello")
    assert not session.step(lane, 1), "one answer has no variants"
    await session.swap(lane, rogue("wide", max_tokens=1))
    session.regenerate(lane)
    await session.answered()
    assert len(lane.variants(lane.path[0])) == 2
    assert texts(lane) == [("hello", "語0😀 ")]
    assert session.step(lane, -1)
    assert texts(lane) == [("hello", "word0 ")]
    assert session.step(lane, -1), "after the last variant comes the first"
    assert texts(lane) == [("hello", "語0😀 ")]
    assert [other_author(lane, run) for run in lane.record.runs] == ["by steady (rogue)", ""]
    await session.configure(lane, dataclasses.replace(rogue("wide"), options={"max_tokens": 2}))
    assert [other_author(lane, run) for run in lane.record.runs] == ["by steady (rogue)", "with max_tokens=1"]
    assert other_author(lane, lane.record.runs[1], in_full=False) == "with other settings"


async def test_an_edited_prompt_goes_to_the_lanes_that_had_it(session, rogue):
    one, other = await opened(session, rogue(max_tokens=1), rogue("wide", max_tokens=1))
    await answers(session, "both")
    alone = session.send("one alone", lanes=[one])
    await session.answered()
    edited = session.edit(alone, "one alone, edited")
    await session.answered()
    assert not edited.for_all
    assert [prompt for prompt, _ in texts(one)] == ["both", "one alone, edited"]
    assert [prompt for prompt, _ in texts(other)] == ["both"]
    await session.close_lane(one)
    assert session.edit(alone, "nobody is there") is None


async def test_a_branch_below_a_regenerated_turn_is_reached_by_its_turn(session, rogue):
    (lane,) = await opened(session, rogue(max_tokens=1))
    for text in ("first", "second", "third"):
        await answers(session, text)
    before = lane.path
    session.regenerate(lane, session.prompts[1])
    await session.answered()
    session.regenerate(lane, session.prompts[1])
    await session.answered()
    session.regenerate(lane, session.prompts[0])
    await session.answered()
    session.regenerate(lane)
    await session.answered()
    assert [prompt for prompt, _ in texts(lane)] == ["first"]
    assert session.step(lane, 1, lane.path[0]), "its variants are 1, 2 and 3; after the last comes the first"
    assert [prompt for prompt, _ in texts(lane)] == ["first", "second"]
    assert session.step(lane, -1, lane.path[1])
    assert session.step(lane, -1, lane.path[1])
    assert lane.path == before
    assert not session.step(lane, 1, lane.path[2]), "the third turn has no variants"
    assert [(turn.run.prompt.text, turn.branches, turn.variant, turn.is_shown) for turn in tree(lane)] == [
        ("first", 0, 1, True),
        ("second", 0, 1, True),
        ("third", 0, 1, True),
        ("second", 1, 2, False),
        ("second", 1, 3, False),
        ("first", 1, 2, False),
        ("first", 1, 3, False),
    ]


async def test_a_forked_lane_has_the_path_and_goes_its_own_way(session, rogue):
    (lane,) = await opened(session, rogue(max_tokens=1))
    for text in ("first", "second", "third"):
        await answers(session, text)
    forked = session.add_lane(lane.engine.definition, fork=lane.path[1])
    session.open_engines()
    await forked.engine.opened()
    assert (forked.path, forked.name) == (lane.path[:2], "steady-2")
    session.send("else", lanes=[forked])
    await session.answered()
    assert [message.text for message in forked.path[-1].spec.messages] == [
        *("first", words(1), "second", words(1), "else")
    ]
    assert [prompt for prompt, _ in texts(lane)] == ["first", "second", "third"]
    session.regenerate(forked, session.prompts[0])
    await session.answered()
    assert session.step(forked, 1, forked.path[0]), "the answer of the other lane is a variant here"
    assert [prompt for prompt, _ in texts(forked)] == ["first", "second", "else"]
    assert len(lane.variants(lane.path[0])) == 1, "the other lane has no part in that"
