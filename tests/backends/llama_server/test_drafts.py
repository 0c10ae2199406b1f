"""Draft models: the same answers, and how many of the proposed tokens were kept."""

import pytest

from paragone import InputError, WeightsFile


async def test_its_own_draft_model_is_always_right(program, open_lane, smollm2, text):
    """The model proposes what it would say itself, so everything is kept and nothing changes."""
    plain = await open_lane(
        program, flash_attn="on"
    )  # else results depend on how many tokens are computed at once
    wanted, _ = await plain.ask("Count to ten.", max_tokens=24, temperature=0, cold=True)
    await plain.engine.close()
    lane = await open_lane(program, draft_model=str(smollm2), draft_max=4, flash_attn="on")
    events, error = await lane.ask("Count to ten.", max_tokens=24, temperature=0, cold=True)
    assert error is None
    assert text(events) == text(wanted)
    usage = events[-1].usage
    assert usage.completion_tokens == 24
    assert 0.9 * usage.drafted_tokens <= usage.accepted_tokens <= usage.drafted_tokens
    assert usage.accepted_tokens >= 12
    assert lane.loaded.facts["draft model"] == smollm2.name
    assert lane.loaded.weights == (WeightsFile.of(smollm2), WeightsFile.of(smollm2))


async def test_one_with_another_vocabulary_is_refused(program, open_lane, tmp_path):
    from paragone_llama_cpp.self_test import tiny_model

    other = tmp_path / "other.gguf"
    other.write_bytes(tiny_model())
    with pytest.raises(InputError, match=r"other\.gguf cannot be the draft model: .*vocabulary differs"):
        await open_lane(program, draft_model=str(other))
