"""Variants: several answers to a prompt, and prompts that were edited, all kept."""

import dataclasses

from tests.workbench.conversation_writer import result_of
from tests.workbench.lane_helpers import answers, opened

from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.lanes.variants import newest_after, tree, variant_origin
from paragone_workbench.runs.run import Run
from paragone_workbench.store import LaneRecord


def texts(lane):
    return [(run.prompt.text, run.text) for run in lane.path]


async def test_steps_lead_through_all_variants_in_a_circle(session, rogue):
    (lane,) = await opened(session, rogue(max_tokens=1))
    assert not session.show_variant(lane, 1), "there are no variants yet"
    await answers(session, "hello")
    assert not session.show_variant(lane, 1), "one answer has no variants"
    await session.swap(lane, rogue("wide", max_tokens=1))
    session.regenerate(lane)
    await session.answered()
    assert len(lane.variants(lane.path[0])) == 2
    assert texts(lane) == [("hello", "語0😀 ")]
    assert session.show_variant(lane, -1)
    assert texts(lane) == [("hello", "word0 ")]
    assert session.show_variant(lane, -1), "after the last variant comes the first"
    assert texts(lane) == [("hello", "語0😀 ")]
    assert [variant_origin(lane, run) for run in lane.record.runs] == ["by steady (rogue)", ""]
    await session.configure(lane, dataclasses.replace(rogue("wide"), options={"max_tokens": 2}))
    assert [variant_origin(lane, run) for run in lane.record.runs] == [
        "by steady (rogue)",
        "with max_tokens=1",
    ]
    assert variant_origin(lane, lane.record.runs[1], in_full=False) == "with other settings"


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


def test_variants_of_a_long_conversation_are_computed_once(session, rogue, monkeypatch):
    lane = session.add_lane(rogue())
    for number in range(200):
        prompt = Prompt(text=str(number))
        run = Run(result_of(rogue(), "answer"), prompt=prompt, continues=lane.record.head)
        lane.record.runs.append(run)
        lane.record.head = run
    reads = list[LaneRecord]()

    def all_runs(record):
        reads.append(record)
        return tuple(record.runs)

    monkeypatch.setattr(LaneRecord, "all_runs", property(all_runs))
    for run in lane.path:
        assert lane.variants(run) == (run,)
        assert lane.answer(run.prompt) is run
        assert newest_after(lane, run) is lane.path[-1]
    assert len(reads) == 1
    assert len([*tree(lane)]) == 200
