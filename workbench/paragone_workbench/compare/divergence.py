"""Where the answers of two engines part: the first token, and the first character, that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from paragone import Channel, Json, Token
from paragone_workbench.compare.diff import Span, common_length
from paragone_workbench.runs.result import RunResult

_CONTEXT = 30
"""Characters that a sentence quotes from each side of a divergence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where two answers part. A field is None if the answers do not part, or if the place is unknown."""

    token: int | None = None
    """Index of the first token that differs, among all tokens of a run, its thinking included."""
    char: int | None = None
    """Index of the first character that differs, in the text of the answer."""


def divergence(reference: RunResult, candidate: RunResult, *, same_vocabulary: bool) -> Divergence:
    """Return where two runs part.

    Tokens are compared by their ids if both engines have the same vocabulary and report the ids, else by
    their texts. Ids and texts are unknown if one of the runs has not kept its tokens. If one answer is the
    beginning of the other, both part at the end of the shorter answer, provided that the model or a stop
    sequence ended the shorter answer. The rest of an answer that was cut, stopped or failed is unknown.
    """
    runs = reference, candidate
    ended = [run.finish == "stop" for run in runs]
    token = None
    if all(run.keeps_tokens for run in runs):
        by_id = same_vocabulary and all(token.id is not None for run in runs for token in run.tokens)
        first, second = (
            [token.id if by_id else token.text for token in _without_end(run.tokens, end)]
            for run, end in zip(runs, ended, strict=True)
        )
        token = _parting(first, second, ended)
    return Divergence(token=token, char=_parting(reference.text, candidate.text, ended))


def divergence_json(runs: Sequence[RunResult], vocabularies: Sequence[str | None]) -> list[Json]:
    """Return where each further run parts from the first run. A value is null if it is unknown or the runs do not part.

    `vocabularies` are the fingerprints of the engines' vocabularies, None if unknown.
    """
    found: list[Json] = []
    reference, *candidates = runs
    for candidate, vocabulary in zip(candidates, vocabularies[1:], strict=True):
        same = vocabulary is not None and vocabulary == vocabularies[0]
        parting = divergence(reference, candidate, same_vocabulary=same)
        found.append(
            {
                "reference": reference.definition.name,
                "candidate": candidate.definition.name,
                **asdict(parting),
            }
        )
    return found


def divergence_sentence(reference: RunResult, candidate: RunResult) -> str:
    """Return where the text of a run parts from that of the reference, as a sentence."""
    first, second = reference.definition.name, candidate.definition.name
    at = divergence(reference, candidate, same_vocabulary=False).char
    if at is None and reference.text == candidate.text:
        return f"{second} gives the same text as {first}."
    shorter, longer = sorted((reference, candidate), key=lambda run: len(run.text))
    if at is None:
        ending = f"{shorter.definition.name} has no more"
        return f"{second} gives the same text as {first} for {len(shorter.text):,} characters; {ending}."
    word = at if at == len(shorter.text) else _word_start(reference.text, at)
    before = f"after {_ending(reference.text[:word])}, " if word else ""
    parts = f"{second} parts from {first} at character {at:,}: {before}"
    if at == len(shorter.text):
        name = shorter.definition.name
        goes_on = _beginning(longer.text[word:].lstrip())
        return f"{parts}{longer.definition.name} goes on with {goes_on}, and {name} ends."
    candidate_words, reference_words = _beginning(candidate.text[word:]), _beginning(reference.text[word:])
    return f"{parts}it has {candidate_words} instead of {reference_words}."


def place_of(tokens: Sequence[Token], index: int) -> tuple[Channel, Span] | None:
    """Return the channel of a token, and where its text is in the text of the channel; None if no text follows.

    For a token without text, return the place of the next token of the channel that has text.
    """
    following = (token for token in tokens[index:] if token.text)
    shown = next((token for token in following if token.channel == tokens[index].channel), None)
    if shown is None:
        return None
    start = sum(len(token.text) for token in tokens[:index] if token.channel == shown.channel)
    return shown.channel, Span(start, start + len(shown.text))


def token_at(tokens: Sequence[Token], char: int) -> int:
    """Return the index of the token with the answer's character `char`; the number of tokens if the answer ends before."""
    end = 0
    for index, token in enumerate(tokens):
        if token.channel == "answer":
            end += len(token.text)
            if end > char:
                return index
    return len(tokens)


def _parting(first: Sequence[object], second: Sequence[object], ended: Sequence[bool]) -> int | None:
    """Return the first index where two sequences differ; None if the sequences do not differ so far.

    If one sequence is the beginning of the other, both differ where the shorter sequence ends, if this sequence has `ended`.
    """
    at = common_length(first, second)
    if at < min(len(first), len(second)):
        return at
    if len(first) == len(second):
        return None
    return at if ended[len(first) > len(second)] else None


def _without_end(tokens: Sequence[Token], ended: bool) -> Sequence[Token]:
    """Return the tokens without the end-of-sequence tokens, which some engines report and which have no text."""
    count = len(tokens)
    while ended and count and not tokens[count - 1].text:
        count -= 1
    return tokens[:count]


def _word_start(text: str, char: int) -> int:
    """Return the start of the word with the character at `char`, so that the whole word can be quoted."""
    before = text[max(0, char - _CONTEXT) : char]
    return char - len(before) + max((before.rfind(blank) + 1 for blank in " \n"), default=0)


def _beginning(text: str) -> str:
    """Quote the first words of a text."""
    part = text[:_CONTEXT]
    return f"“{part.rsplit(' ', 1)[0]} …”" if part != text else f"“{text}”"


def _ending(text: str) -> str:
    """Quote the last words of a text."""
    part = text[-_CONTEXT:]
    return f"“… {part.split(' ', 1)[-1].rstrip()}”" if part != text else f"“{text.rstrip()}”"
