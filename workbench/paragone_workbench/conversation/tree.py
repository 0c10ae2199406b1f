"""A conversation as a tree of prompts, where an edited prompt is a branch beside the original; its system prompt."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone import Json
from paragone_workbench.conversation.attachments.attached_file import without_sections
from paragone_workbench.identity import new_id

if TYPE_CHECKING:
    from paragone import Image
    from paragone_workbench.conversation.attachments.attached_file import AttachedFile


@dataclass(slots=True, kw_only=True, eq=False)
class Prompt:
    """A prompt for one lane or for several. A prompt never changes: editing creates another prompt."""

    text: str
    """What the engines get: what the user wrote, and the sections of the attached files below it."""
    files: tuple[AttachedFile, ...] = ()
    """The attached files whose sections `text` has."""
    images: tuple[Image, ...] = ()
    parent: Prompt | None = None
    """The previous prompt; None for a first one."""
    system: str | None = None
    """System prompt from here on; None to keep that of the previous prompt."""
    sampling: Mapping[str, Json] | None = None
    """Sampling options from here on, which override the engines'; None to keep those of the previous prompt."""
    for_all: bool = True
    """Whether the prompt was sent to all lanes."""
    created: float = field(default_factory=time.time)
    """Seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    def with_ancestors(self) -> Iterator[Prompt]:
        """Yield this prompt, then its parent, and so on up to the first one."""
        prompt: Prompt | None = self
        while prompt is not None:
            yield prompt
            prompt = prompt.parent

    @property
    def written(self) -> str:
        """What the user wrote: the text without the attached files."""
        return without_sections(self.text, self.files)

    @property
    def written_with_names(self) -> str:
        """The user's text, and below it the names of attached files and images, each in brackets on a line."""
        names = (*(file.label for file in self.files), *(image.name for image in self.images))
        return "\n".join((self.written, *(f"[{name}]" for name in names)))

    @property
    def system_in_force(self) -> str:
        """The system prompt that applies to this prompt; empty if there is none."""
        return next((prompt.system for prompt in self.with_ancestors() if prompt.system is not None), "")

    @property
    def sampling_in_force(self) -> Mapping[str, Json]:
        """The sampling options that apply to this prompt."""
        return next((prompt.sampling for prompt in self.with_ancestors() if prompt.sampling is not None), {})


@dataclass(slots=True, kw_only=True, eq=False)
class Conversation:
    """A tree of prompts. Each run refers to its prompt, and to the run that it continues."""

    prompts: list[Prompt] = field(default_factory=list)
    """In the order in which they were sent; a prompt's parent comes before it."""
    created: float = field(default_factory=time.time)
    """Seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""
    number: int | None = None
    """The 7 in `c7`, which people type; None before the conversation is saved."""

    def add(self, prompt: Prompt) -> Prompt:
        """Add a prompt and return it. Its parent must be in the conversation."""
        # mostly it is the last one: a long conversation is added to in linear time
        assert prompt.parent in (None, *self.prompts[-1:]) or prompt.parent in self.prompts
        self.prompts.append(prompt)
        return prompt


class SystemPrompt:
    """Decides which system prompt a new prompt brings with it. An empty text means none."""

    def __init__(self, default: str) -> None:
        """Create the state for a conversation. `default` applies from its first prompt on."""
        self._default = default
        self._first = default
        self._changed: str | None = None

    def change(self, text: str) -> None:
        """Set the system prompt from the next prompt on, and of the new conversations that follow this one."""
        self._changed = text

    def begin_after(self, prompt: Prompt | None) -> None:
        """Begin a new conversation. It keeps what applies after this prompt of the one before; the default if nothing does."""
        if self._changed is None and prompt is not None:
            self._changed = prompt.system_in_force or None
        self._first = self._default

    def reopen_after(self, prompt: Prompt | None) -> None:
        """Go on with an earlier conversation after this prompt. Until the next change it keeps its own system prompt."""
        self._changed = None
        self._first = self._default if prompt is None else prompt.system_in_force

    def after(self, prompt: Prompt | None) -> str:
        """Return the system prompt that applies to a prompt after this one, or to a first prompt for None."""
        if self._changed is not None:
            return self._changed
        return self._first if prompt is None else prompt.system_in_force

    def of_new_prompt(self, parent: Prompt | None) -> str | None:
        """Return `Prompt.system` of a new prompt after this one; None if it keeps that of its parent."""
        text = self.after(parent)
        return text if text != (parent.system_in_force if parent is not None else "") else None

    def of_edited_prompt(self, prompt: Prompt) -> str | None:
        """Return `Prompt.system` of an edited version of this prompt: the same, unless the user changed it since."""
        return prompt.system if self._changed is None else self.of_new_prompt(prompt.parent)
