"""A conversation: prompts, each after another one, so that editing one begins a branch beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from paragone import Image, Json

__all__ = ["Conversation", "Prompt"]


@dataclass(slots=True, kw_only=True, eq=False)
class Prompt:
    """What a user asked, of one lane or of several. It never changes: an edited prompt is another one."""

    text: str
    images: tuple[Image, ...] = ()
    parent: Prompt | None = None
    """The prompt before it; None for a first one."""
    system: str | None = None
    """System prompt from here on; None for that of the prompt before."""
    sampling: Mapping[str, Json] | None = None
    """Sampling options from here on, over those of the engines; None for those of the prompt before."""
    for_all: bool = True
    """Whether it was meant for all lanes, and not for some of them."""
    created: float = field(default_factory=time.time)
    """Seconds since 1970."""
    id: int | None = None
    """Its id in the history, once it is saved."""

    def up(self) -> Iterator[Prompt]:
        """Yield this prompt and those before it, up to the first."""
        prompt: Prompt | None = self
        while prompt is not None:
            yield prompt
            prompt = prompt.parent

    @property
    def system_in_force(self) -> str:
        """The system prompt that applies to it; empty where there is none."""
        return next((it.system for it in self.up() if it.system is not None), "")

    @property
    def sampling_in_force(self) -> Mapping[str, Json]:
        """The sampling options that apply to it."""
        return next((it.sampling for it in self.up() if it.sampling is not None), {})


@dataclass(slots=True, kw_only=True, eq=False)
class Conversation:
    """Prompts as a tree. Runs refer to their prompts, and each to the run that it continued."""

    prompts: list[Prompt] = field(default_factory=list)
    """In the order in which they were asked; a prompt's parent comes before it."""
    created: float = field(default_factory=time.time)
    id: int | None = None
    """Its id in the history, once it is saved."""

    def add(self, prompt: Prompt) -> Prompt:
        """Add a prompt, whose parent is in the conversation, and return it."""
        assert prompt.parent is None or prompt.parent in self.prompts
        self.prompts.append(prompt)
        return prompt

    def children(self, parent: Prompt | None) -> list[Prompt]:
        """Return the prompts that follow a prompt, or the first ones: several are branches."""
        return [prompt for prompt in self.prompts if prompt.parent is parent]
