"""The tree of a conversation's prompts, where an edited prompt begins a branch beside the original, and system prompts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone import Json
from paragone_workbench.conversation.attachments import without_sections
from paragone_workbench.ids import new_id

if TYPE_CHECKING:
    from paragone import Image
    from paragone_workbench.conversation.attachments import AttachedFile


@dataclass(slots=True, kw_only=True, eq=False)
class Prompt:
    """A prompt for one or more lanes. A prompt never changes: editing creates a new prompt."""

    text: str
    """The text for the engines: the text that the user wrote, followed by the sections of the attached files."""
    files: tuple[AttachedFile, ...] = ()
    """The attached files whose sections `text` contains."""
    images: tuple[Image, ...] = ()
    parent: Prompt | None = None
    """The previous prompt; None for a first prompt."""
    system: str | None = None
    """System prompt from this prompt on; None to keep the previous prompt's system prompt."""
    sampling: Mapping[str, Json] | None = None
    """Sampling options from this prompt on, overriding the engines' options; None to keep the previous prompt's options."""
    for_all: bool = True
    """Whether the prompt was sent to all lanes."""
    created: float = field(default_factory=time.time)
    """Seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    def with_ancestors(self) -> Iterator[Prompt]:
        prompt: Prompt | None = self
        while prompt is not None:
            yield prompt
            prompt = prompt.parent

    @property
    def written(self) -> str:
        return without_sections(self.text, self.files)

    @property
    def written_with_names(self) -> str:
        """The user's text, followed by the names of attached files and images, each in brackets on its own line."""
        names = (*(file.label for file in self.files), *(image.name for image in self.images))
        return "\n".join((self.written, *(f"[{name}]" for name in names)))

    @property
    def system_in_force(self) -> str:
        """The system prompt that applies to this prompt; empty for no system prompt."""
        return next((prompt.system for prompt in self.with_ancestors() if prompt.system is not None), "")

    @property
    def sampling_in_force(self) -> Mapping[str, Json]:
        return next((prompt.sampling for prompt in self.with_ancestors() if prompt.sampling is not None), {})


@dataclass(slots=True, kw_only=True, eq=False)
class Conversation:
    """A tree of prompts. Each run refers to its prompt, and to the run that it continues."""

    prompts: list[Prompt] = field(default_factory=list)
    """The prompts in the order in which the user sent them, so that a parent comes before its children."""
    created: float = field(default_factory=time.time)
    """Seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""
    number: int | None = None
    """The number by which users name the conversation: 7 in `c7`; None before the conversation is saved."""

    def add(self, prompt: Prompt) -> Prompt:
        """Add a prompt, whose parent must be in the conversation, and return the prompt."""
        # The last prompt is compared first: it usually is the parent, and a search of all prompts takes longer.
        assert prompt.parent in (None, *self.prompts[-1:]) or prompt.parent in self.prompts
        self.prompts.append(prompt)
        return prompt


class SystemPrompt:
    """Decides which system prompt a new prompt sets. An empty text means no system prompt."""

    def __init__(self, default: str) -> None:
        """Begin with a new conversation, whose first prompt sets the system prompt `default`."""
        self._default = default
        self._first = default
        self._changed: str | None = None

    def change(self, text: str) -> None:
        """Set the system prompt from the next prompt on, also for later new conversations."""
        self._changed = text

    def begin_after(self, prompt: Prompt | None) -> None:
        """Begin a new conversation with the system prompt in force after `prompt`; with the default if none was in force."""
        if self._changed is None and prompt is not None:
            self._changed = prompt.system_in_force or None
        self._first = self._default

    def reopen_after(self, prompt: Prompt | None) -> None:
        self._changed = None
        self._first = self._default if prompt is None else prompt.system_in_force

    def after(self, prompt: Prompt | None) -> str:
        """Return the system prompt for a new prompt after `prompt`; for None, the system prompt for a first prompt."""
        if self._changed is not None:
            return self._changed
        return self._first if prompt is None else prompt.system_in_force

    def of_new_prompt(self, parent: Prompt | None) -> str | None:
        """Return `Prompt.system` of a new prompt after `parent`; None to keep the parent's system prompt."""
        text = self.after(parent)
        return text if text != (parent.system_in_force if parent is not None else "") else None

    def of_edited_prompt(self, prompt: Prompt) -> str | None:
        """Return `Prompt.system` of an edited version of `prompt`: `prompt.system`, unless the user has set another."""
        return prompt.system if self._changed is None else self.of_new_prompt(prompt.parent)
