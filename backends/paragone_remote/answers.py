"""Reads servers' answers: settings, thinking, tokens and embeddings; and detects truncated prompts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import paragone
from paragone.answer_text import THINKING_TAGS, AnswerText
from paragone.json_values import JsonObject, count_at, number_at, objects_at, text_at
from paragone.options import as_values
from paragone_remote.options import without_surrogates
from paragone_remote.transport import InvalidReply

MAY_NOT_CONTINUE = paragone.Caution(
    code="may-not-continue", sentence="This server may start a new answer instead of continuing the last one."
)


def no_template_caution(model: str) -> paragone.Caution:
    message = f"{model} is used without a chat template: it continues the plain text of the messages."
    return paragone.Caution(code="no-chat-template", sentence=message)


def not_cold_caution(server: str) -> paragone.Caution:
    message = f"{server} may reuse its KV cache: the prompt may not have been processed completely."
    return paragone.Caution(code="not-cold", sentence=message)


def has_images(messages: Sequence[paragone.Message]) -> bool:
    return any(message.images for message in messages)


def continues_answer(request: paragone.RunRequest) -> bool:
    return bool(request.messages) and request.messages[-1].role == "assistant"


def refuse_unfinished_thinking(request: paragone.RunRequest, server: str) -> None:
    """Raise InputError if a request continues thinking without an answer, which this server cannot do."""
    if continues_answer(request) and request.messages[-1].thinking and not request.messages[-1].text:
        raise paragone.InputError(
            f"{server} cannot continue thinking that has no answer yet.",
            hint="Let the engine answer the prompt again.",
        )


def unfinished_text(answer: paragone.Message, before: str = "") -> str:
    """Return the text of an unfinished answer to continue. The end of the prompt `before` may already open the thinking."""
    opened = next((tags for tags in THINKING_TAGS if before.rstrip().endswith(tags.open)), None)
    if opened is None and not answer.thinking:
        return answer.text
    tags = opened or THINKING_TAGS[0]
    opening = "" if opened is not None else f"{tags.open}\n"
    return f"{opening}{answer.thinking}\n{tags.close}\n\n{answer.text}"


def explicit_options(sampling: paragone.Options) -> dict[str, paragone.Json]:
    """Return the values of the options that are set. Other options are not sent: the server has defaults of its own."""
    return {name: value for name, value in as_values(sampling).items() if value is not None and value != []}


AskPrompt: TypeAlias = Callable[[], Awaitable[paragone.TokenizedText]]
"""Requests a rendered prompt, perhaps without ids. Raises ParagoneError or the exceptions in `faults.FAULTS`."""


_TAG = re.compile("|".join(re.escape(tag) for tags in THINKING_TAGS for tag in tags))
_LONGEST = max(len(tag) for tags in THINKING_TAGS for tag in tags)
_ENDS = {tags.close for tags in THINKING_TAGS}


class InlineThinking:
    """Puts a block of thinking at the beginning of an answer into its channel, unless the server separates thinking.
    If the prompt has opened the block, the thinking stays in the answer, and the closing tag causes a caution."""

    def __init__(self) -> None:
        self._text: AnswerText | None = AnswerText()
        """Examines the beginning of the answer; None afterwards."""
        self._watching = True
        """Whether a closing tag without an opening tag may still come."""
        self._recent = ""
        self._answered: list[str] = []
        self._thought = False

    @property
    def answer(self) -> str | None:
        """The text of the answer so far; None if there was also thinking."""
        return None if self._thought else "".join(self._answered)

    def take(self, event: paragone.Event) -> Iterator[paragone.Event]:
        """Add the next event, and yield the events whose text is final, in order."""
        for final in self._final_events(event):
            if isinstance(final, paragone.Token):
                self._answered.append(final.text)
                self._thought = self._thought or final.channel == "thinking"
            yield final

    def _final_events(self, event: paragone.Event) -> Iterator[paragone.Event]:
        if isinstance(event, paragone.Finish):
            yield from self.flush()
        if not isinstance(event, paragone.Token):
            yield event
        elif event.channel == "thinking":  # the server itself separates thinking
            yield from self.flush()
            self._watching = False
            yield event
        elif self._text is None:
            yield from self._watched(event)
        else:
            text = self._text
            for token in text.push(event.text, event.id, event.time, event.logprob, event.top):
                yield from self._watched(token)
            if text.settled:
                self._text = None

    def flush(self) -> Iterator[paragone.Event]:
        """Yield the events held back, at the end of the run."""
        text, self._text = self._text, None
        if text is not None:
            for token in text.finish():
                yield from self._watched(token)

    def _watched(self, token: paragone.Token) -> Iterator[paragone.Event]:
        yield token
        if token.channel == "thinking":
            self._watching = False
        if not self._watching:
            return
        recent = self._recent + token.text
        self._recent = recent[-_LONGEST:]
        tag = _TAG.search(recent)
        if tag is None:
            return
        self._watching = False  # later closing tags are part of the answer's content
        if tag[0] in _ENDS:
            message = (
                f"The answer has a {tag[0]} without an opening tag: the text before it may be the model's "
                "thinking, which this server does not separate."
            )
            yield paragone.Caution(code="thinking-in-answer", sentence=message)


def scored_token(
    text: str, logprob: float, top: Iterable[tuple[str, float | None, int | None]], number: int | None = None
) -> paragone.Token:
    """Return a token as the server scored it, with its alternatives, each with text, log-probability and id."""
    found = [
        paragone.Alternative(text=without_surrogates(other), id=its_id, logprob=likelihood)
        for other, likelihood, its_id in top
        if likelihood is not None
    ]
    ranked = tuple(sorted(found, key=lambda other: -other.logprob))
    return paragone.Token(text=text, id=number, logprob=logprob, top=ranked, time=0)


def scored_tokens(entries: Iterable[JsonObject]) -> Iterator[paragone.Token]:
    for entry in entries:
        if (logprob := number_at(entry, "logprob")) is not None:
            top = (
                (text_at(other, "token"), number_at(other, "logprob"), count_at(other, "id"))
                for other in objects_at(entry, "top_logprobs")
            )
            yield scored_token(text_at(entry, "token"), logprob, top, count_at(entry, "id"))


def tokens_of(
    answer: str, scored: Sequence[paragone.Token], *, thinking: str = "", top: int, time: float
) -> Iterator[paragone.Token]:
    """Yield tokens with at most `top` alternatives. `scored` belongs to the answer, or to the thinking if `answer` is empty."""
    if thinking:
        yield from _tokens(thinking, () if answer else scored, "thinking", top, time)
    if answer or (scored and not thinking):
        yield from _tokens(answer, scored, "answer", top, time)


def _tokens(
    text: str, scored: Sequence[paragone.Token], channel: paragone.Channel, top: int, time: float
) -> Iterator[paragone.Token]:
    """Yield the tokens of one channel. The last token has the whole text if the entries' texts do not add up to it."""
    text = without_surrogates(text)
    if not scored:
        yield paragone.Token(text=text, channel=channel, time=time)
        return
    exact = "".join(token.text for token in scored) == text
    for number, token in enumerate(scored, 1):
        shown = token.text if exact else text if number == len(scored) else ""
        yield dataclasses.replace(token, text=shown, channel=channel, top=token.top[:top], time=time)


_LONGEST_CHECKED = 32
"""Largest number of characters of a token in common tokenizers, except spaces and repeated characters."""

_REPEATED = re.compile(r"(\S)\1{3,}")
"""Repeated characters, such as lines of dashes, can be one token of any length."""

_LETTERS = "A-Za-z\u00c0-\u024f\u0370-\u052f"
_WORDS = re.compile(f"[{_LETTERS}]{{2,}}")
"""Words in Latin, Greek and Cyrillic letters. Common tokenizers never put two such words into one token."""

_SIGNS = re.compile(r"[\W_]+")
_UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
"""Chinese, Japanese and Korean characters, without spaces between words. A token has 1 or 2 of them."""


def least_tokens(text: str) -> int:
    """Return a lower bound for a text's tokens with any tokenizer: a token has 3 characters in code, 9 in a contract."""
    return sum(
        max(
            1 + len(piece) // _LONGEST_CHECKED, len(_WORDS.findall(piece)), len(_UNSPACED.findall(piece)) // 4
        )
        for piece in _REPEATED.sub(r"\1", text).split()
        if not _SIGNS.fullmatch(piece)
    )


_DENSE = 4
"""Characters per counted token above which a prompt may have been cut: English has about 4.5, code has 3."""


def may_be_truncated(messages: Sequence[paragone.Message], read: int) -> bool:
    """Whether the server read so few tokens for this text that requesting the exact number is worthwhile."""
    return sum(len(message.text) for message in messages) > _DENSE * read


_REMEMBERED = 1000


@dataclass(slots=True)
class TruncationAlarm:
    """Detects a cut prompt from the number of tokens that the server reports. A conversation has at least the tokens
    counted for its earlier prompts and answers, and one token for each new word."""

    where: str
    context: int | None = None
    _known: list[tuple[tuple[paragone.Message, ...], int]] = field(default_factory=list, init=False)
    """Prompts of the current conversation, each with its smallest possible number of tokens. A prompt continues the
    previous prompt."""
    _answers: dict[str, int] = field(default_factory=dict, init=False)

    def check(
        self,
        messages: Sequence[paragone.Message],
        read: int | None,
        written: int | None,
        *,
        answer: str | None = None,
        sent_tokens: int | None = None,
    ) -> paragone.Caution | None:
        """Return a caution if the `read` tokens cannot be the whole prompt. `answer` is None if `written` counts thinking."""
        if not read:  # some servers do not count and report 0
            return None
        sent = tuple(messages)
        least = self._least(sent)
        self._learn(sent, max(read, least), written, answer)
        if sent_tokens is not None and read < sent_tokens:
            return self._caution(f"{sent_tokens:,} tokens were sent, and the server read {read:,}")
        if read < least:
            return self._caution(f"at least {least:,} tokens were sent, and the server read {read:,}")
        if self.context is not None and read >= self.context:
            return self._caution(
                f"the tokens that the server read fill the whole context of {self.context:,} tokens"
            )
        # the last token of an answer is not processed and needs no space in the context
        if self.context is not None and read + (written or 0) > self.context + 1:
            message = (
                f"{self.where} dropped the beginning of the conversation while it answered: prompt and answer "
                f"are {read + (written or 0):,} tokens, the context holds {self.context:,}."
            )
            return paragone.Caution(code="context-shifted", sentence=message)
        return None

    def _least(self, sent: tuple[paragone.Message, ...]) -> int:
        while self._known and sent[: len(self._known[-1][0])] != self._known[-1][0]:
            self._known.pop()
        before, counted = self._known[-1] if self._known else ((), 0)
        least = [self._least_of(message) for message in sent]
        return max(sum(least), counted + sum(least[len(before) :]))

    def _least_of(self, message: paragone.Message) -> int:
        least = least_tokens(_shown(message))
        return max(least, self._answers.get(message.text, 0)) if message.role == "assistant" else least

    def _learn(
        self, sent: tuple[paragone.Message, ...], least: int, written: int | None, answer: str | None
    ) -> None:
        if not sent or sent[-1].role == "assistant":
            return  # no earlier prompt, or a continued answer, whose thinking a template may later omit
        if has_images(sent):
            return  # a server may omit earlier images
        if not self._known or self._known[-1][0] != sent:
            self._known.append((sent, least))
        if answer and written and len(self._answers) < _REMEMBERED:
            # A template strips spaces from an answer's ends. Tokenized again, an answer can have fewer tokens: at most
            # 2.5% fewer in answers of SmolLM2 at temperatures up to 10.
            stripped = len(answer) - len(answer.strip())
            self._answers[answer] = max(0, written - stripped) * 3 // 4

    def _caution(self, why: str) -> paragone.Caution:
        message = f"{self.where} cut the prompt: {why}. The answer is based on an incomplete prompt."
        return paragone.Caution(code="truncated", sentence=message)


def _shown(message: paragone.Message) -> str:
    """Return the part of a message that every chat template includes. Many templates omit the thinking of an answer."""
    text = message.text
    for tags in THINKING_TAGS if message.role == "assistant" else ():
        text = text.rpartition(tags.close)[2]
    return text


def embeddings_of(found: Iterable[object], tokens: int | None, *, texts: int) -> paragone.Embeddings:
    """Return the embeddings from their lists of numbers, one list for each of `texts` texts. Raises InvalidReply."""
    vectors = tuple(map(_vector, found))
    if len(vectors) != texts or len({len(vector) for vector in vectors}) != 1:
        raise InvalidReply(
            f"{len(vectors):,} embeddings of {texts:,} texts, or embeddings that differ in length"
        )
    return paragone.Embeddings(vectors=vectors, prompt_tokens=tokens)


def _vector(found: object) -> tuple[float, ...]:
    numbers = [number_at(item) for item in found] if isinstance(found, list) else []
    vector = tuple(number for number in numbers if number is not None)
    if not vector or len(vector) != len(numbers):
        raise InvalidReply("an embedding that is not a list of numbers")
    return vector
