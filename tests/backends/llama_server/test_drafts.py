"""Draft models, of which some tokens are kept, and images, of which the server makes tokens."""

import pytest
from tiny_vision import IMAGE_TOKENS, projector

from paragone import Image, InputError, WeightsFile


async def test_a_model_as_its_own_draft_model_is_always_accepted(program, open_lane, smollm2, text):
    """The model proposes what it would say itself, so everything is kept and nothing changes."""
    plain = await open_lane(
        program, flash_attn="on"
    )  # else results depend on how many tokens are computed in one batch
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


async def test_a_draft_model_with_another_vocabulary_is_refused(program, open_lane, tmp_path):
    from paragone_llama_cpp.self_test import tiny_model

    other = tmp_path / "other.gguf"
    other.write_bytes(tiny_model())
    with pytest.raises(InputError, match=r"other\.gguf cannot be the draft model: .*vocabulary differs"):
        await open_lane(program, draft_model=str(other))


async def test_a_draft_model_that_the_server_drops_silently_is_refused(wheel, open_lane, tmp_path):
    """The server writes its log in a thread, perhaps after it is ready."""
    from paragone_llama_cpp.self_test import tiny_model

    other, silent = tmp_path / "other.gguf", tmp_path / "llama-server"
    other.write_bytes(tiny_model())
    silent.write_text(f'#!/bin/sh\nexec {wheel} "$@" 2>/dev/null\n')
    silent.chmod(0o755)
    with pytest.raises(InputError, match=r"other\.gguf cannot be the draft model"):
        await open_lane(str(silent), draft_model=str(other))


# One pixel each, as PNG in base64.
RED = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
BLUE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mNgYPgPAAEDAQA2dBFAAAAAAElFTkSuQmCC"


@pytest.fixture(scope="session")
def mmproj(tmp_path_factory):
    path = tmp_path_factory.mktemp("mmproj") / "mmproj.gguf"
    path.write_bytes(projector(576))
    return path


def picture(data):
    return Image(data=data, media_type="image/png")


async def test_images_are_sent_to_a_model_with_an_encoder(wheel, open_lane, mmproj, smollm2):
    lane = await open_lane(wheel, mmproj=str(mmproj))
    assert lane.loaded.vision is True
    assert [file.path for file in lane.loaded.weights] == [str(smollm2), str(mmproj)]
    results = []
    for images in ((), (picture(RED),), (picture(BLUE),)):
        events, error = await lane.ask(
            "What is this?", images=images, max_tokens=1, temperature=0, logprobs=3, cold=True
        )
        assert error is None
        results.append(events)
    none, red, _ = results
    added = red[-1].usage.prompt_tokens - none[-1].usage.prompt_tokens
    assert IMAGE_TOKENS <= added <= IMAGE_TOKENS + 4  # and what the template puts around it
    tokens = [next(it for it in events if getattr(it, "top", ())) for events in results]
    assert len({token.logprob for token in tokens}) == 3, "the answer depends on the pixels"


async def test_without_an_encoder_the_model_has_no_vision(wheel, open_lane):
    assert (await open_lane(wheel)).loaded.vision is False
