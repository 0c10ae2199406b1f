"""The system prompt: a default for new conversations, and changes during a conversation."""

from __future__ import annotations

from paragone_workbench.conversation.tree import Prompt

__all__ = ["SystemPrompt"]


class SystemPrompt:
    """Decides which system prompt a new prompt brings with it. An empty text means none."""

    def __init__(self, default: str) -> None:
        """Create the state for a conversation. `default` applies from its first prompt on."""
        self._default = default
        self._changed: str | None = None

    def change(self, text: str) -> None:
        """Set the system prompt from the next prompt on, also of later conversations."""
        self._default = self._changed = text

    def begin_conversation(self) -> None:
        """Start with another conversation, which keeps its own system prompt until the next change."""
        self._changed = None

    def after(self, prompt: Prompt | None) -> str:
        """Return the system prompt that applies to a prompt after this one, or to a first prompt for None."""
        if self._changed is not None:
            return self._changed
        return self._default if prompt is None else prompt.system_in_force

    def of_new_prompt(self, parent: Prompt | None) -> str | None:
        """Return `Prompt.system` of a new prompt after this one; None if it keeps that of its parent."""
        if parent is None:
            return self._default or None
        return self._changed if self._changed != parent.system_in_force else None

    def of_edited_prompt(self, prompt: Prompt) -> str | None:
        """Return `Prompt.system` of an edited version of this prompt: the same, unless the user changed it since."""
        return prompt.system if self._changed is None else self.of_new_prompt(prompt.parent)
