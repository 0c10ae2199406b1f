"""The fork of two answers: the likely tokens at the fork, and prefixes for answers that continue from such a token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone import Alternative, Token
from paragone_workbench.compare.confidence import alternatives, confidence, quoted
from paragone_workbench.compare.divergence import Divergence, place_of, token_at

if TYPE_CHECKING:
    from paragone import Channel
    from paragone_workbench.runs.prefix import Prefix
    from paragone_workbench.runs.result import RunResult

_CONTROL = re.compile(r"<\|.*\|>|</?s>|<(start|end)_of_turn>|<eos>|<EOT>|\[/?INST\]")
"""Names of control tokens, such as the tokens that end an answer. A control token whose name is sent as text loses its effect."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForkSide:
    """A lane's answer at the fork."""

    name: str
    """The lane's name."""
    answer: RunResult
    index: int | None
    """The index of the token at the fork, which is the number of tokens if the answer ends there; None if the tokens were
    not kept."""
    parted_earlier: bool = False
    """Whether the answer parts from the reference before the fork, so that its token at the fork follows another text."""

    @property
    def token(self) -> Token | None:
        """The token at the fork; None if the token is unknown or follows another text."""
        if self.index is None or self.parted_earlier or self.index >= len(self.answer.tokens):
            return None
        return self.answer.tokens[self.index]

    @property
    def choices(self) -> tuple[Alternative, ...]:
        """The likeliest tokens at the fork and the token itself, the likeliest first."""
        return alternatives(self.token) if self.token is not None else ()

    @property
    def sentence(self) -> str:
        """How sure the engine was of the token, or that the user chose the token; empty if the token is unknown."""
        if self.token is None:
            return ""
        given = self.answer.prefilled
        if given is not None and given.chosen and given.tokens is not None and self.index == given.tokens - 1:
            return f"You chose {quoted(self.token.text)} here."
        return confidence(self.token)

    def is_own(self, choice: Alternative) -> bool:
        """Return whether `choice`, one of the likeliest tokens, is the token that the engine chose."""
        return self.token is not None and self.token.text == choice.text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fork:
    """The place where a candidate's answer parts from the reference's."""

    sides: tuple[ForkSide, ...]
    """The reference's side, the candidate's side, and the sides of further answers."""
    place: Divergence
    channel: Channel = "answer"
    before: str = ""
    """The text before the fork, in the channel."""

    @property
    def is_exact(self) -> bool:
        """Whether tokens were compared, instead of characters."""
        return self.place.token is not None

    @property
    def greedy_sentence(self) -> str:
        """The tokens that the engines would have chosen at temperature 0, as a sentence; empty if they are unknown."""
        shown = [side for side in self.sides if side.choices]
        if len(shown) < 2:
            return ""
        firsts = [side.choices[0].text for side in shown]
        if len(set(firsts)) > 1:
            return "At temperature 0 they part here, too."
        both = "both" if len(shown) == 2 else "all"
        return f"At temperature 0 {both} say {quoted(firsts[0])}."


def fork_of(answers: Sequence[tuple[str, RunResult, Divergence | None]]) -> Fork:
    """Return the fork of answers to one prompt, given with their lanes' names and their divergences from the reference.

    The first answer is the reference, and the second is the candidate whose parting is shown. Further answers may part elsewhere.
    """
    place = answers[1][2]
    assert place is not None
    reference = answers[0][1]
    sides = tuple(_side(name, answer, parting, place) for name, answer, parting in answers)
    known = next((side for side in sides if side.index is not None and not side.parted_earlier), None)
    if place.token is not None and (found := place_of(reference.tokens, place.token)) is not None:
        channel, span = found
        text = reference.thinking if channel == "thinking" else reference.text
        return Fork(sides=sides, place=place, channel=channel, before=text[: span.start])
    end = place.char if place.char is not None else len(reference.text)
    if known is not None and known.index is not None:  # the token begins before the character
        end = sum(
            len(token.text) for token in known.answer.tokens[: known.index] if token.channel == "answer"
        )
    return Fork(sides=sides, place=place, before=reference.text[:end])


def _side(name: str, answer: RunResult, parting: Divergence | None, place: Divergence) -> ForkSide:
    index = None
    if answer.keeps_tokens:
        index = place.token if place.token is not None else token_at(answer.tokens, place.char or 0)
    earlier = parting is not None and _is_before(parting, place)
    return ForkSide(name=name, answer=answer, index=index, parted_earlier=earlier)


def _is_before(one: Divergence, other: Divergence) -> bool:
    if one.token is not None and other.token is not None:
        return one.token < other.token
    return one.char is not None and other.char is not None and one.char < other.char


def can_begin_with(choice: Alternative) -> bool:
    """Whether a token can be a part of a prefix: it is neither a control token nor a part of a character."""
    return bool(choice.text) and "\ufffd" not in choice.text and not _CONTROL.fullmatch(choice.text.strip())


def prefix_with(fork: Fork, side: ForkSide, choice: Alternative) -> Prefix | None:
    """Return the text before the fork with the chosen token, as a prefix for the lane; None if the lane parted earlier."""
    from paragone_workbench.runs.prefix import Prefix

    if side.parted_earlier:
        return None
    answer = side.answer
    if side.index is None:  # the lane's tokens are unknown, but its text before the fork is the reference's
        thinks = fork.channel == "thinking"
        text = fork.before + choice.text
        return Prefix(
            text="" if thinks else text,
            thinking=text if thinks else answer.thinking,
            run_id=answer.id,
            chosen=choice.text,
        )
    # Only the lane's own engine can give the token's id: an id of another vocabulary has no meaning here.
    own = next((other for other in side.choices if other.text == choice.text), None)
    at = side.token
    token = Token(
        text=choice.text,
        channel=at.channel if at is not None else fork.channel,
        id=own.id if own is not None else None,
        logprob=own.logprob if own is not None else None,
        top=at.top if at is not None else (),
        time=0.0,
    )
    return Prefix.up_to(answer, side.index, token)
