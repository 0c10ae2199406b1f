"""The seeds of lanes: one for the first answers of all lanes to a prompt, another one for the second answers."""

from tests.workbench.lane_helpers import answers, opened


async def test_lanes_share_the_random_seed(session, rogue):
    lanes = await opened(session, rogue(name="a", max_tokens=1), rogue(name="b", max_tokens=1))
    await answers(session, "go")
    for lane in lanes:
        session.regenerate(lane)
    await session.answered()
    await answers(session, "on")
    ours, theirs = ([run.spec.drawn_seed for run in lane.record.runs] for lane in lanes)
    assert ours == theirs, "answers of the same number to the same prompt are drawn alike"
    assert len(set(ours)) == 3, "another answer and another prompt have another seed"
    assert [run.result.request["drawn_seed"] for run in lanes[0].record.runs] == ours, "the manifest has it"
