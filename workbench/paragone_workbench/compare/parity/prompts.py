"""Compare rendered prompts: by token ids, else by text, else by token counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from paragone import Json
from paragone_workbench.compare.diff import common_length
from paragone_workbench.compare.parity.findings import Finding, enumeration, joined, quoted
from paragone_workbench.compare.parity.side import Side

PROMPT = "prompt"
"""The name that stands in `unknown` for a prompt that could not be compared."""

_CONTROL = re.compile(r"<[^<>\s]*>|\[/?[A-Z_]+\]")
"""Control tokens in the text of a prompt, such as `<|im_end|>` and `[INST]`."""

_ROLES = {"system", "user", "assistant"}


def compare_prompts(sides: Sequence[Side], unknown: Mapping[str, list[str]]) -> list[Finding]:
    """Compare the prompts of all sides with the prompt of which most is known.

    Adds to `unknown`, by the name of a side, `PROMPT` if its prompt could not be compared at all, or the prompt's text
    if only the number of tokens is known.
    """
    reference = max(sides, key=_evidence)
    different: list[Side] = []
    silent: list[str] = []
    for side in sides:
        alike = _alike(reference, side)
        if alike is None:
            silent.append(side.name)
            unknown[side.name].append(PROMPT)
        elif side.settings.prompt is None and side.settings.prompt_ids is None:
            unknown[side.name].append("text of the prompt")
        if alike is False:
            different.append(side)
    return [_finding(sides, reference, different, silent)] if different else []


def _evidence(side: Side) -> list[bool]:
    """Return which properties of the prompt are known, starting with the one that says most."""
    known = (side.settings.prompt_ids, side.settings.prompt, side.prompt_tokens)
    return [value is not None for value in known]


def _alike(one: Side, other: Side) -> bool | None:
    """Return whether two prompts are equal; None if unknown."""
    first, second = one.settings, other.settings
    if first.prompt_ids is not None and second.prompt_ids is not None:
        return first.prompt_ids == second.prompt_ids
    counts = one.prompt_tokens, other.prompt_tokens
    equal_counts = None if None in counts else counts[0] == counts[1]
    if first.prompt is not None and second.prompt is not None:
        return first.prompt == second.prompt and equal_counts is not False
    return equal_counts


def _finding(
    sides: Sequence[Side], reference: Side, different: Sequence[Side], unknown: Sequence[str]
) -> Finding:
    counts: dict[str, Json] = {side.name: side.prompt_tokens for side in sides}
    if len({count for count in counts.values() if count is not None}) > 1:
        tokens = {name: f"{count} tokens" for name, count in counts.items() if count is not None}
        parts = [f"The prompt is {enumeration(tokens, silent=unknown)}."]
        what, values = "prompt tokens", counts
    else:
        others = joined(side.name for side in different)
        parts = [f"The prompt in {others} differs from the prompt in {reference.name}."]
        what, values = "prompt", {side.name: side.settings.prompt for side in sides}
    system = ""
    asked = [side for side in different if not _same_messages(reference, side, but="assistant")]
    own = [side for side in different if side not in asked and not _same_messages(reference, side)]
    if asked:
        parts.append(
            f"The earlier prompts in {joined(side.name for side in asked)} differ from those in {reference.name}."
        )
    if own:
        parts.append("Each lane's history contains its own answers, so the prompts differ.")
    for side in [side for side in different if side not in (*asked, *own)][:3]:
        if reference.settings.prompt is None or side.settings.prompt is None:
            continue
        only_reference, only_side = _difference(reference.settings.prompt, side.settings.prompt)
        parts.append(_described(reference, side, only_reference, only_side))
        system = system or _default_system(reference, only_reference, only_side)
        if system:
            parts.append(
                f"This text is the default system prompt of the chat template in "
                f"{reference.name if only_reference else side.name}."
            )
    return Finding(
        what=what,
        values=values,
        sentence=" ".join(parts),
        system=system,
        is_expected=len(own) == len(different),
    )


def _same_messages(one: Side, other: Side, *, but: str = "") -> bool:
    """Return whether both sides sent the same messages, apart from the role `but`; True if messages are unknown."""
    if one.messages is None or other.messages is None:
        return True
    first, second = (
        [message for message in side.messages or () if message.role != but] for side in (one, other)
    )
    return first == second


def _difference(one: str, other: str) -> tuple[str, str]:
    """Return the parts of two texts between their common beginning and their common end."""
    start = common_length(one, other)
    end = common_length(one[start:][::-1], other[start:][::-1])
    return one[start : len(one) - end], other[start : len(other) - end]


def _described(reference: Side, side: Side, only_reference: str, only_side: str) -> str:
    if only_reference and only_side:
        return f"{side.name} has {quoted(only_side)} in place of {quoted(only_reference)}."
    if only_reference:
        return f"{side.name} leaves out {quoted(only_reference)}."
    if only_side:
        return f"{side.name} adds {quoted(only_side)}."
    ids, others = reference.settings.prompt_ids, side.settings.prompt_ids
    if ids is None or others is None:
        return f"The text is the same in {side.name}, the number of its tokens is not: one engine adds special tokens."
    at = common_length(ids, others)
    return f"The text is the same in {side.name}; its tokens differ from token {at + 1} on."


def _default_system(reference: Side, only_reference: str, only_side: str) -> str:
    """Return the system prompt that a chat template adds in one of two prompts; empty if there is none."""
    if reference.messages is None or (only_reference and only_side):
        return ""
    if any(message.role == "system" for message in reference.messages):
        return ""
    pieces = [piece.strip() for piece in _CONTROL.split(only_reference or only_side)]
    words = [piece.removeprefix("system").strip() for piece in pieces if piece and piece not in _ROLES]
    return words[0] if len(words) == 1 else ""
