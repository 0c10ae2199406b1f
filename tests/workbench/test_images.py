"""Images in prompts: reading, sending to vision models, saving with the conversation."""

import base64
import os
from pathlib import Path

import pytest
from tests.pictures import PNG, picture
from tests.workbench.lane_helpers import opened

from paragone import Image, InputError
from paragone_workbench.conversation import attached_files as images
from paragone_workbench.conversation.attached_files import image_size, read_image
from paragone_workbench.lanes.session import Session

KINDS = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "image/gif": b"GIF89a\x01\x00",
    "image/webp": b"RIFF\x24\x00\x00\x00WEBPVP8L",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_of_an_image_is_found_by_its_first_bytes(tmp_path, kind):
    image = read_image(picture(tmp_path / "image.dat", KINDS[kind]))
    assert (image.media_type, image.name) == (kind, "image.dat")
    assert base64.b64decode(image.data) == KINDS[kind]
    assert image_size(image) == len(KINDS[kind])


REFUSED = [
    ("nowhere.png", None, "cannot be read: No such file or directory."),
    ("sound.webp", b"RIFF\x24\x00\x00\x00WAVEfmt ", "is not an image in a supported format."),
    ("null\0.png", None, "cannot be read: embedded null byte."),
    ("loop.png", None, "cannot be read: Too many levels of symbolic links."),
]


@pytest.mark.parametrize(
    ("name", "content", "said"), REFUSED, ids=[name.replace("\0", "") for name, *_ in REFUSED]
)
def test_files_that_are_not_images_are_refused(tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    elif name == "loop.png":
        path.symlink_to(path)
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert caught.value.message.endswith(said)


def test_reading_a_pipe_as_an_image_does_not_block(tmp_path):
    """A pipe without a writer, a pipe with a part of an image, and a terminal without input."""
    os.mkfifo(tmp_path / "pipe.png")
    reading, writing = os.pipe()
    os.write(writing, PNG[:-4])
    leader, terminal = os.openpty()
    try:
        for path in (
            tmp_path / "pipe.png",
            Path(f"/dev/fd/{reading}"),
            Path(os.ttyname(terminal)),
        ):
            with pytest.raises(InputError, match="not an image in a supported format"):
                read_image(path)
    finally:
        for handle in (reading, writing, leader, terminal):
            os.close(handle)


def test_a_large_image_is_refused_without_reading_all_of_it(tmp_path):
    path = picture(tmp_path / "large.png")
    os.truncate(path, images.MAX_BYTES + 1)
    with pytest.raises(InputError, match="larger than 20 MiB") as caught:
        read_image(path)
    assert caught.value.hint
    os.truncate(path, images.MAX_BYTES)
    assert image_size(read_image(path)) == images.MAX_BYTES


@pytest.fixture
def cat(tmp_path):
    return read_image(picture(tmp_path / "cat.png"))


async def ask(session: Session, text: str, *shown: Image) -> list[str]:
    session.send(text, shown)
    await session.answered()
    return [lane.answer(session.prompts[-1]).text for lane in session.lanes]


async def test_vision_models_get_the_image_and_other_models_a_warning(session, rogue, cat):
    _, blind = await opened(session, rogue("seeing", max_tokens=1), rogue(max_tokens=1))
    assert await ask(session, "What is this?", cat) == ["cat.png ", ""]
    error = blind.answer(session.prompts[0]).error
    assert isinstance(error, InputError)
    assert error.message == "steady does not accept images."
    assert blind.engine.is_open
    # Later prompts include the image for the model that got it; the other model goes on without.
    assert await ask(session, "And what colour?") == ["cat.png ", "word0 "]
    assert blind.answer(session.prompts[1]).result.cautions == ()


async def test_switching_to_a_model_without_vision_gives_a_warning(session, rogue, cat):
    (lane,) = await opened(session, rogue("seeing", max_tokens=1))
    await ask(session, "What is this?", cat, cat)
    await session.swap(lane, rogue(max_tokens=1))
    assert await ask(session, "And now?") == ["word0 "]
    (caution,) = lane.answer(session.prompts[1]).result.cautions
    assert caution.code == "images-left-out"
    assert caution.sentence == "steady does not accept images: 2 images of earlier prompts were omitted."
