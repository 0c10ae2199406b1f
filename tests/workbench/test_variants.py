"""Variants: several answers to a prompt, and prompts that were edited, all kept."""

import dataclasses

from tests.workbench.lane_helpers import answers, opened

from paragone_workbench.lanes.variants import other_author


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
