"""Images: a model with an image encoder with random weights (see `tiny_vision`)."""

import pytest
from tiny_vision import IMAGE_TOKENS, projector

from paragone import Image

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


async def test_an_image_is_in_the_prompt(wheel, open_lane, mmproj, smollm2):
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


async def test_without_an_encoder_it_sees_nothing(wheel, open_lane):
    assert (await open_lane(wheel)).loaded.vision is False
