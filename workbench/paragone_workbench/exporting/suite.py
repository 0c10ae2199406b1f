"""Write the prompts of a conversation as a suite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from paragone import InputError, Json, Message
from paragone_workbench.experiments.output_file import check_target, replacing
from paragone_workbench.runs.context import messages_for, path_to
from paragone_workbench.store import SavedConversation


class WrittenSuite(NamedTuple):
    prompts: int
    """Number of prompts in the suite."""
    with_images: int
    """Number of prompts that were left out because of their images, which a suite cannot contain."""


def write_suite(saved: SavedConversation, path: Path, *, replaces: bool = False) -> WrittenSuite:
    """Write the prompts on the path of the first open lane into a file, with a line of JSON for each prompt.

    The line also has the messages before the prompt. `replaces` says whether an existing file may be replaced. Raises
    InputError if there is no prompt, or if the file exists or is write-protected, and ParagoneError if writing fails.
    """
    if path.suffix.lower() != ".jsonl":
        raise InputError(f"The name of the suite {path} must end in .jsonl.")
    check_target(path, replaces=replaces)
    heads = [lane.head for lane in saved.lanes if not lane.closed and lane.head is not None]
    written = with_images = 0
    with replacing(path) as file:
        for run in path_to(heads[0] if heads else None):
            if run.prompt is None or not run.prompt.text.strip():
                continue
            messages = messages_for(run.prompt, run.continues)
            if any(message.images for message in messages):
                with_images += 1
                continue
            file.write(f"{json.dumps(_record(messages), ensure_ascii=False)}\n")
            written += 1
        if not written:
            raise InputError(
                f"Conversation c{saved.conversation.number} has no prompt for a suite.",
                hint="A suite is made of the prompts of the first open lane that come without images.",
            )
    return WrittenSuite(written, with_images)


def _record(messages: tuple[Message, ...]) -> dict[str, Json]:
    """Return the record of a prompt in a suite file: a `prompt`, or `messages` if there are messages before the prompt."""
    system: dict[str, Json] = {}
    if messages[0].role == "system":
        system, messages = {"system": messages[0].text}, messages[1:]
    if len(messages) == 1:
        return {**system, "prompt": messages[0].text}
    return {**system, "messages": [{"role": message.role, "content": message.text} for message in messages]}
