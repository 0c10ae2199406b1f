"""Where answers to one prompt diverge, and the answers of several engines as JSON."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp

from paragone import Alternative, Caution, Channel, Image, Json, RunSettings, Token
from paragone_workbench.compare.diff import Span, common_length
from paragone_workbench.compare.parity_findings import Parity
from paragone_workbench.runs.metrics import figures_json
from paragone_workbench.runs.result import Prefix, RunResult

_SURE, _PREFERRED = 0.9, 0.5


def alternatives(token: Token) -> tuple[Alternative, ...]:
    """Return the most likely tokens at a token's position, most likely first. The token itself is among them."""
    if token.logprob is None or any(_is(alternative, token) for alternative in token.top):
        return token.top
    own = Alternative(text=token.text, id=token.id, logprob=token.logprob)
    return tuple(sorted((*token.top, own), key=lambda alternative: -alternative.logprob))


def confidence(token: Token) -> str:
    if token.logprob is None:
        return "The engine did not report the probabilities of its tokens."
    others = [alternative for alternative in token.top if not _is(alternative, token)]
    chosen = f"{quoted(token.text)} with {_percent(token.logprob)}"
    if not others:
        return f"It chose {chosen}."
    next_best = f"{quoted(others[0].text)} had {_percent(others[0].logprob)}"
    if others[0].logprob > token.logprob:
        other = f"{quoted(others[0].text)} ({_percent(others[0].logprob)})"
        return f"Sampling picked {quoted(token.text)} ({_percent(token.logprob)}) over {other}, which was more likely."
    probability = exp(token.logprob)
    if probability >= _SURE:
        return f"It was sure: it chose {chosen}, and {next_best}."
    if probability >= _PREFERRED:
        return f"It was fairly sure: it chose {chosen}, and {next_best}."
    return f"It was not sure: it chose {chosen}, and {next_best}."


def quoted(text: str) -> str:
    return f"“{text.replace(chr(10), '⏎')}”"


def _is(alternative: Alternative, token: Token) -> bool:
    if alternative.id is not None and token.id is not None:
        return alternative.id == token.id
    return alternative.text == token.text


def _percent(logprob: float) -> str:
    return f"{exp(logprob):.1%}"


_CONTEXT = 30
"""Number of characters that a message quotes from each side of a divergence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where two answers diverge. A field is None if the answers do not diverge, or if the place is unknown."""

    token: int | None = None
    """Index of the first token that differs, among all tokens of a run, its thinking included."""
    char: int | None = None


def divergence(reference: RunResult, candidate: RunResult, *, same_vocabulary: bool) -> Divergence:
    """Return where two runs diverge.

    Tokens are compared by id in one vocabulary, else by text; they are unknown if a run has not kept them. If one
    answer is the beginning of the other, they diverge at its end, provided that the model or a stop sequence ended it:
    the rest of an answer that was cut, stopped or failed is unknown.

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


def divergence_message(reference: RunResult, candidate: RunResult) -> str:
    first, second = reference.definition.name, candidate.definition.name
    at = divergence(reference, candidate, same_vocabulary=False).char
    if at is None and reference.text == candidate.text:
        return f"{second} gives the same text as {first}."
    shorter, longer = sorted((reference, candidate), key=lambda run: len(run.text))
    if at is None:
        ending = f"{shorter.definition.name} has no more"
        return f"{second} gives the same text as {first} for {len(shorter.text):,} characters; {ending}."
    word = at
    if at < len(shorter.text):  # begin with the whole word
        near = reference.text[max(0, at - _CONTEXT) : at]
        word += max((near.rfind(blank) + 1 for blank in " \n"), default=0) - len(near)
    end = reference.text[max(0, word - _CONTEXT) : word].rstrip()
    if word > _CONTEXT:
        end = f"… {end.split(' ', 1)[-1]}"
    before = f"after “{end}”, " if word else ""
    parts = f"{second} diverges from {first} at character {at:,}: {before}"
    if at == len(shorter.text):
        name = shorter.definition.name
        continued = _beginning(longer.text[word:].lstrip())
        return f"{parts}{longer.definition.name} continues with {continued}, and {name} ends."
    candidate_words, reference_words = _beginning(candidate.text[word:]), _beginning(reference.text[word:])
    return f"{parts}it has {candidate_words} instead of {reference_words}."


def place_of(tokens: Sequence[Token], index: int) -> tuple[Channel, Span] | None:
    """Return a token's channel, and the span of its text in the channel, or of the next token with text; None if no
    such token follows."""
    following = (token for token in tokens[index:] if token.text)
    shown = next((token for token in following if token.channel == tokens[index].channel), None)
    if shown is None:
        return None
    start = sum(len(token.text) for token in tokens[:index] if token.channel == shown.channel)
    return shown.channel, Span(start, start + len(shown.text))


def token_at(tokens: Sequence[Token], char: int) -> int:
    """Return the index of the token with the answer's character `char`; the number of tokens if the answer is shorter."""
    end = 0
    for index, token in enumerate(tokens):
        if token.channel == "answer":
            end += len(token.text)
            if end > char:
                return index
    return len(tokens)


def _parting(first: Sequence[object], second: Sequence[object], ended: Sequence[bool]) -> int | None:
    """Return where two sequences first differ: at the latest at the end of the shorter one, if it has `ended`; else None."""
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


def _beginning(text: str) -> str:
    part = text[:_CONTEXT]
    return f"“{part.rsplit(' ', 1)[0]} …”" if part != text else f"“{text}”"


_CONTROL = re.compile(r"<\|.*\|>|</?s>|<(start|end)_of_turn>|<eos>|<EOT>|\[/?INST\]")
"""Names of control tokens, such as the tokens that end an answer. A control token whose name is sent as text loses its
effect."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForkSide:
    name: str
    answer: RunResult
    index: int | None
    """The index of the token at the fork, which is the number of tokens if the answer ends there; None if the tokens
    were not kept."""
    parted_earlier: bool = False
    """Whether the answer diverges from the reference before the fork, so that its token at the fork follows another text."""

    @property
    def token(self) -> Token | None:
        if self.index is None or self.parted_earlier or self.index >= len(self.answer.tokens):
            return None
        return self.answer.tokens[self.index]

    @property
    def choices(self) -> tuple[Alternative, ...]:
        return alternatives(self.token) if self.token is not None else ()

    @property
    def sentence(self) -> str:
        """How probable the token was for the engine, or that the user chose the token; empty if the token is unknown."""
        if self.token is None:
            return ""
        given = self.answer.prefilled
        if given is not None and given.chosen and given.tokens is not None and self.index == given.tokens - 1:
            return f"You chose {quoted(self.token.text)} here."
        return confidence(self.token)

    def is_own(self, choice: Alternative) -> bool:
        return self.token is not None and self.token.text == choice.text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fork:
    sides: tuple[ForkSide, ...]
    place: Divergence
    channel: Channel = "answer"
    before: str = ""
    prompt: str = ""
    """The prompt, if the forks that are shown together have different ones."""

    @property
    def is_exact(self) -> bool:
        return self.place.token is not None

    @property
    def greedy_sentence(self) -> str:
        """A message with the tokens that the engines would have chosen at temperature 0; empty if they are unknown."""
        shown = [side for side in self.sides if side.choices]
        if len(shown) < 2:
            return ""
        firsts = [side.choices[0].text for side in shown]
        if len(set(firsts)) > 1:
            return "At temperature 0 they diverge here too."
        both = "both" if len(shown) == 2 else "all"
        return f"At temperature 0 {both} choose {quoted(firsts[0])}."


def fork_of(answers: Sequence[tuple[str, RunResult, Divergence | None]]) -> Fork:
    """Return the fork of two answers, with the names of their lanes and their divergences: first the reference, then
    the candidate."""
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
    if known is not None and known.index is not None:  # the token begins before the character at the fork
        end = sum(
            len(token.text) for token in known.answer.tokens[: known.index] if token.channel == "answer"
        )
    return Fork(sides=sides, place=place, before=reference.text[:end])


def _side(name: str, answer: RunResult, parting: Divergence | None, place: Divergence) -> ForkSide:
    index, earlier = None, False
    if answer.keeps_tokens:
        index = place.token if place.token is not None else token_at(answer.tokens, place.char or 0)
    if parting is not None and parting.token is not None and place.token is not None:
        earlier = parting.token < place.token
    elif parting is not None and parting.char is not None and place.char is not None:
        earlier = parting.char < place.char
    return ForkSide(name=name, answer=answer, index=index, parted_earlier=earlier)


def can_begin_with(choice: Alternative) -> bool:
    """Whether a prefix can contain a token: not a control token, nor an incomplete character."""
    return bool(choice.text) and "\ufffd" not in choice.text and not _CONTROL.fullmatch(choice.text.strip())


def prefix_with(fork: Fork, side: ForkSide, choice: Alternative) -> Prefix | None:
    """Return the text before the fork with the chosen token, as a prefix for the lane; None if the lane diverged earlier."""
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


def comparison_json(
    prompt: str,
    images: Sequence[Image],
    runs: Sequence[RunResult],
    parity: Parity,
    *,
    vocabularies: Sequence[str | None] = (),
) -> dict[str, Json]:
    """Return the answers of several engines to one prompt and their parity. Unknown values are null. With the
    fingerprints of the engines' `vocabularies` (None if unknown), the JSON has the place where each further answer
    diverges from the first. docs/command-line.schema.json has the schema."""
    comparison: dict[str, Json] = {
        "prompt": prompt,
        "images": [image.name for image in images],
        "lanes": [answer_json(run) for run in runs],
        "parity": [
            {
                "what": finding.what,
                "lanes": dict(finding.values),
                "sentence": finding.text,
                "expected": finding.is_expected,
            }
            for finding in parity.findings
        ],
        "parity_unknown": {unknown.what: list(unknown.names) for unknown in parity.unknown},
    }
    if vocabularies:
        first, *others = vocabularies
        comparison["divergence"] = [
            {
                "reference": runs[0].definition.name,
                "candidate": run.definition.name,
                **asdict(divergence(runs[0], run, same_vocabulary=other is not None and other == first)),
            }
            for run, other in zip(runs[1:], others, strict=True)
        ]
    return comparison


def answer_json(run: RunResult, *, with_tokens: bool = True) -> dict[str, Json]:
    """Return the answer of one engine. `with_tokens` adds the tokens of the answer, if the run requested log-probabilities."""
    settings = run.settings or RunSettings()
    answer: dict[str, Json] = {
        "engine": run.definition.name,
        "backend": run.definition.backend,
        "model": run.definition.model,
        "text": run.text,
        "thinking": run.thinking,
        "finish": run.finish,
        "error": run.message if run.error else None,
        "warnings": [asdict(warning) for warning in warnings_of(run)],
        "seed": settings.seed,
        "sampling": None if settings.sampling is None else dict(settings.sampling),
        **figures_json(run.metrics),
    }
    if run.prefilled is not None:
        answer["prefilled"] = asdict(run.prefilled)
    if with_tokens and run.keeps_tokens:
        answer["tokens"] = [
            {
                "id": token.id,
                "text": token.text,
                "logprob": token.logprob,
                "top": [asdict(alternative) for alternative in token.top],
            }
            for token in run.tokens
        ]
    return answer


def warnings_of(run: RunResult) -> tuple[Caution, ...]:
    return (*(run.loaded.cautions if run.loaded is not None else ()), *run.cautions)
