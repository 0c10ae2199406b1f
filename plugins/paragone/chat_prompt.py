"""Turn messages into the tokens of a prompt that fits in the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, NamedTuple

import paragone
from paragone.answer_text import THINKING_TAGS, Tags
from paragone.shared_options import SamplingOptions, Thinking

if TYPE_CHECKING:
    from paragone.chat_template import ChatTemplate


class TokenizedPrompt(NamedTuple):
    """A prompt as tokens for the model."""

    tokens: list[int]
    text: str
    """The text that the chat template rendered; empty if tokens were given."""
    inside: Tags | None = None
    """The tags of the thinking block that the prompt leaves open."""


@dataclass(frozen=True, slots=True)
class PromptMaker:
    """Builds prompts for one model.

    Attributes:
        bos: The token that every prompt and plain text begins with, if any.
        context: Size in tokens of the context, which holds prompt and answer.
        option: The name of the option that sets the size of the context, for error messages.
        owner: The name of the owner of the context, for error messages.
    """

    _tokenize: Callable[[str], list[int]]
    _template: ChatTemplate | None
    _: KW_ONLY
    bos: int | None
    context: int
    option: str
    owner: str

    def make(
        self,
        messages: Sequence[paragone.Message],
        sampling: SamplingOptions,
        *,
        text: str = "",
        ids: Sequence[int] = (),
    ) -> TokenizedPrompt:
        """Return the prompt for these messages; without messages, the prompt is `text` or else `ids`.

        Raises InputError if the prompt is empty or the template fails, ContextOverflow if no answer fits in the context.
        """
        if not messages and text:
            return self.check(TokenizedPrompt(self.tokenize(text), text))
        if not messages and ids:
            return self.check(TokenizedPrompt(list(ids), ""))
        return self.check(self.whole(messages, sampling.thinking))

    def whole(self, messages: Sequence[paragone.Message], thinking: Thinking = None) -> TokenizedPrompt:
        """Return the whole prompt, whatever its length. Raises InputError."""
        if not messages:
            raise paragone.InputError("There are no messages to answer.")
        text, tags = self._rendered(messages, thinking)
        return TokenizedPrompt(self.tokenize(text), text, tags)

    def tokenized(
        self, request: paragone.TokenizeRequest, sampling: SamplingOptions
    ) -> paragone.TokenizedText:
        """Return the tokens of a conversation's whole prompt, or of a text. Raises InputError."""
        if request.messages:
            prompt = self.whole(request.messages, sampling.thinking)
            text, tokens = prompt.text, prompt.tokens
        else:
            text = request.text
            tokens = self.tokenize(text) if request.bos else self._tokenize(text)
        if request.count_only:
            return paragone.TokenizedText(text=None, ids=(), count=len(tokens))
        return paragone.TokenizedText(text=text, ids=tuple(tokens))

    def to_score(self, messages: Sequence[paragone.Message], text: str) -> tuple[list[int], int]:
        """Return the tokens of a prompt and a text, and the index at which the text starts.

        Raises ContextOverflow.
        """
        if messages:
            prompt, _ = self._rendered(messages, None)
            tokens, alone = self.tokenize(prompt + text), self.tokenize(prompt)
            pairs = zip(tokens, alone, strict=False)
            # A token that contains the end of the prompt and the start of the text is counted as part of the text.
            start = next((at for at, (one, other) in enumerate(pairs) if one != other), len(alone))
        else:
            tokens = self.tokenize(text)
            start = 1 if self.bos is None else 2
        self.check_length(tokens)
        return tokens, max(start, 1)

    def check_length(self, tokens: Sequence[int]) -> None:
        """Raise ContextOverflow if the context is too small for the tokens of a text and its prompt, if it has a prompt."""
        if len(tokens) > self.context:
            raise self._overflow("The text, with its prompt if it has one,", len(tokens), "", "")

    def check_distributions(self, request: paragone.DistributionsRequest, vocab_size: int) -> None:
        """Raise ContextOverflow if the sequence exceeds the context, InputError if the request is invalid otherwise."""
        if request.start < 0:
            raise paragone.InputError(
                f"Distributions cannot start at token {request.start}.", hint="The first token is token 0."
            )
        if request.batch is not None and request.batch < 1:
            raise paragone.InputError(
                f"A batch cannot have {request.batch} tokens.", hint="A batch has at least 1 token."
            )
        if (length := len(request.ids)) > self.context:
            raise self._overflow("The sequence", length, "", ", or measure in shorter windows")
        if beyond := [token for token in request.ids if not 0 <= token < vocab_size]:
            raise paragone.InputError(
                f"The vocabulary of {self.owner} has {vocab_size:,} tokens: there is no token {beyond[0]}.",
                hint="Tokenize the text with this model.",
            )

    def _overflow(self, what: str, length: int, excess: str, also: str) -> paragone.ContextOverflow:
        """Return the error for `what`. `also` is what the user can do instead of raising the option."""
        return paragone.ContextOverflow(
            f"{what} is {length:,} tokens long and the context of {self.owner} holds {self.context:,}{excess}.",
            hint=f"Raise {self.option}{also}.",
            tokens=length,
            context=self.context,
        )

    def _rendered(self, messages: Sequence[paragone.Message], thinking: Thinking) -> tuple[str, Tags | None]:
        """Return the text of the prompt, and the tags of the thinking block that this text leaves open."""
        text = self._text(messages, thinking)
        begun = text.rstrip()
        tags = next((tags for tags in THINKING_TAGS if begun.endswith(tags.open)), None)
        last = messages[-1]
        if tags is None and last.role == "assistant" and last.thinking and not last.text:
            tags = THINKING_TAGS[0]
            text += tags.open + "\n"
        if tags is not None and last.role == "assistant" and not last.text:
            text += last.thinking
        return text, tags

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text at the start of the context, including the BOS token."""
        tokens = self._tokenize(text)
        if self.bos is not None and tokens[:1] != [self.bos]:
            tokens.insert(0, self.bos)
        return tokens

    def check(self, prompt: TokenizedPrompt) -> TokenizedPrompt:
        """Return the prompt if it leaves room for at least one token. Raises ContextOverflow."""
        length = len(prompt.tokens)
        if not length:
            raise paragone.InputError("The prompt is empty.")
        if length >= self.context:
            excess = f": that is {length - self.context + 1:,} too many to leave room for an answer"
            also = ", shorten the conversation, or set overflow to drop_oldest"
            raise self._overflow("The prompt", length, excess, also)
        return prompt

    def _text(self, messages: Sequence[paragone.Message], thinking: Thinking) -> str:
        if self._template is None:
            return "\n\n".join(message.text for message in messages)
        last = messages[-1]
        if last.role != "assistant":
            return self._template.render(messages, generate=True, thinking=thinking)
        if not last.text:
            return self._template.render(messages[:-1], generate=True, thinking=thinking)
        # To continue an answer, cut off everything that the template adds after the answer, and restore the trailing
        # spaces that the template may have removed.
        rendered = self._template.render(messages, generate=False, thinking=thinking)
        answer = last.text.strip()
        at = rendered.rfind(answer)
        if at < 0 or not answer:
            raise paragone.InputError(
                f"The chat template of {self.owner} does not support continuing an answer."
            )
        return rendered[: at + len(answer)] + last.text[len(last.text.rstrip()) :]
