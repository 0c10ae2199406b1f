"""Build the messages of a request from a path of runs, and fit them into the context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone import Message
from paragone_workbench.conversation.tree import Prompt

if TYPE_CHECKING:
    from paragone_workbench.runs.run import Run


def path_to(run: Run | None) -> tuple[Run, ...]:
    """Return the runs that a run continues, oldest first, followed by the run itself."""
    path: list[Run] = []
    while run is not None:
        path.append(run)
        run = run.continues
    return tuple(reversed(path))


def messages_for(prompt: Prompt, continues: Run | None) -> tuple[Message, ...]:
    """Return the messages of the conversation up to and including a prompt.

    The messages leave out prompts without an answer, whose run failed or was stopped before any text arrived.
    """
    from paragone import Message  # imported here because the program's start needs only `path_to`

    system = prompt.system_in_force
    messages = [Message(role="system", text=system)] if system else []
    for run in path_to(continues):
        if run.prompt is not None and run.text:
            messages.append(Message(role="user", text=run.prompt.text, images=run.prompt.images))
            messages.append(Message(role="assistant", text=run.text, thinking=run.thinking))
    messages.append(Message(role="user", text=prompt.text, images=prompt.images))
    return tuple(messages)


def request_of(run: Run) -> tuple[Message, ...]:
    """Return the messages of the request for a run of a conversation, and the given start of the answer, if any.

    Empty for a run without a prompt.
    """
    if run.prompt is None:
        return ()
    messages, given = messages_for(run.prompt, run.continues), run.result.prefilled
    if given is None:
        return messages
    from paragone import Message

    text, thinking = run.text[: given.text], run.thinking[: given.thinking]
    return (*messages, Message(role="assistant", text=text, thinking=thinking))
