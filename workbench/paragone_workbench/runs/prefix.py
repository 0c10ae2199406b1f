"""The prefix of an answer: text that a run is given, and that the engine continues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone import Message, Token
from paragone.wording import counted

if TYPE_CHECKING:
    from paragone_workbench.runs.result import RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefilled:
    """The length of the part of an answer that its run was given. The engine generated the rest."""

    text: int = 0
    """Number of given characters at the start of the answer."""
    thinking: int = 0
    """Number of given characters at the start of the thinking."""
    tokens: int | None = None
    """Number of given tokens at the start of `RunResult.tokens`. None if the tokens are unknown: `RunResult.tokens` then
    begins with one token without an id for the whole given text of each channel."""
    run_id: str = ""
    """The run whose answer is continued; empty if the text came with the request."""
    chosen: str = ""
    """The text of the last given token if the user chose this token; else empty."""

    @property
    def sentence(self) -> str:
        """The sentence for the user that says which text the answer continues."""
        if self.chosen:
            token = self.chosen.replace("\n", "⏎")
            return f"Goes on from the chosen token “{token}”."
        count = counted(self.text or self.thinking, "character")
        return f"Goes on after {count} {'of an earlier answer' if self.run_id else 'that were given'}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The start of an answer, for a run that continues it."""

    text: str = ""
    thinking: str = ""
    tokens: tuple[Token, ...] = ()
    """The tokens of thinking and text; empty if unknown."""
    run_id: str = ""
    chosen: str = ""

    @classmethod
    def of_request(cls, messages: Sequence[Message]) -> Prefix | None:
        """Return the prefix that a request contains: its last message if the assistant wrote it, else None."""
        last = messages[-1] if messages else None
        if last is None or last.role != "assistant":
            return None
        return cls(text=last.text, thinking=last.thinking)

    @classmethod
    def of_answer(cls, answer: RunResult, *, same_model: bool) -> Prefix:
        """Return the whole answer of a run as a prefix, with its tokens if the model is the same."""
        known = same_model and answer.keeps_tokens
        return cls(
            text=answer.text,
            thinking=answer.thinking,
            tokens=answer.tokens if known else (),
            run_id=answer.id,
        )

    @classmethod
    def up_to(cls, answer: RunResult, index: int, chosen: Token) -> Prefix:
        """Return a prefix of the answer's tokens before `index`, followed by the token that the user chose."""
        tokens = (*answer.tokens[:index], chosen)
        texts = {"answer": "", "thinking": ""}
        for token in tokens:
            texts[token.channel] += token.text
        return cls(
            text=texts["answer"],
            thinking=texts["thinking"],
            tokens=tokens,
            run_id=answer.id,
            chosen=chosen.text,
        )

    @property
    def prefilled(self) -> Prefilled:
        """The description of the prefix in the run's result."""
        return Prefilled(
            text=len(self.text),
            thinking=len(self.thinking),
            tokens=len(self.tokens) or None,
            run_id=self.run_id,
            chosen=self.chosen,
        )

    @property
    def result_tokens(self) -> tuple[Token, ...]:
        """The tokens with which the result of the run begins."""
        whole = (
            Token(text=self.thinking, channel="thinking", time=0.0),
            Token(text=self.text, time=0.0),
        )
        return self.tokens or tuple(token for token in whole if token.text)
