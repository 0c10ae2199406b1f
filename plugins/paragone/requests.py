"""Messages, the requests to an engine, and what an engine computes: tokens, logits and embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from paragone.wire import Json

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in a message.

    Attributes:
        data: The file's bytes in base64.
        media_type: `image/png`, `image/jpeg`, `image/webp` or `image/gif`.
        name: The image's display name, such as the file name. Engines do not receive this name.
    """

    data: str
    media_type: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: Who wrote the message.
        text: The message's text; may be empty in an assistant message that the engine is to continue.
        images: The message's images; none if `LoadedModel.vision` is False.
        thinking: What a reasoning model wrote before this answer. Pass this text to the chat template or the
            server, which decides whether the model sees it; ignore the text if neither accepts it.
    """

    role: Role
    text: str
    images: tuple[Image, ...] = ()
    thinking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A request to open a model.

    Attributes:
        model: A path, or the model's name at an endpoint: `ModelInfo.model` of the backend's model list.
        options: Values for the backend's `load_options`, by name. The backend checks the values.
        python: Interpreter for the worker of a native engine; None for the application's own interpreter.
        threads: CPU threads for all runs that do not set another number. A number in `options` takes precedence.
        log: File for the output of a native engine's process; None for a temporary file.
    """

    model: str
    options: Mapping[str, Json] = field(default_factory=dict)
    python: str | None = None
    threads: int | None = None
    log: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One prompt for an open engine.

    Attributes:
        messages: The conversation so far, oldest first. The answer continues a last message that is the assistant's.
        text: A plain text that the answer continues, without a chat template, if `messages` is empty; for engines with
            the capability `plain_text`. The engine adds the BOS token if the model has one.
        ids: The tokens that the answer continues, instead of `text`; for engines with the capability `token_ids`.
            The engine adds no token.
        sampling: Values for the backend's `sampling` options, by name. The backend checks the values.
        logprobs: None for no log-probabilities; 0 for each token's; N for each token's and the N most likely tokens
        at its position.
        threads: CPU threads for this run; None for the open model's number. The load option for threads takes
        precedence.
        cold: Process the whole prompt and reuse no KV cache: slower, but independent of earlier runs.
        prompt_ids: Report the token ids of the rendered prompt in `RunSettings.prompt_ids`, if the engine can.
        drawn_seed: The seed for an engine that would draw a seed itself, so that several engines use the same seed. A seed
            that the user or the server has set takes precedence. None lets the engine draw a seed.
        bare: Send a server only this request: do not ask for the rendered prompt or the server's queue, or check whether
            the server has changed. Set when a server is measured with many requests in progress.
    """

    messages: tuple[Message, ...]
    text: str = ""
    ids: tuple[int, ...] = ()
    sampling: Mapping[str, Json] = field(default_factory=dict)
    logprobs: int | None = None
    threads: int | None = None
    cold: bool = False
    prompt_ids: bool = False
    drawn_seed: int | None = None
    bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """A text whose log-probabilities are requested.

    Attributes:
        text: The text to score.
        messages: The conversation that `text` answers; empty to score `text` alone, from its second token on.
        ids: The tokens to score instead of a text, for engines with the capability `token_ids`. The engine adds no
            token, and yields a Token for each id; the first Token has no log-probability.
        top: Number of alternatives to report with each token.
    """

    text: str = ""
    messages: tuple[Message, ...] = ()
    ids: tuple[int, ...] = ()
    top: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Texts whose embeddings are requested, without a chat template.

    Attributes:
        texts: The texts. The engine adds the tokens that the model expects before and after each text.
        ids: A sequence of tokens for each text, instead of `texts`, for the capability `token_ids`. The engine adds no token.
    """

    texts: tuple[str, ...] = ()
    ids: tuple[tuple[int, ...], ...] = ()

    @property
    def inputs(self) -> Sequence[str] | Sequence[tuple[int, ...]]:
        """The texts, or the sequences of tokens."""
        return self.texts or self.ids


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeRequest:
    """A conversation or a plain text whose tokens are requested, or tokens whose text is requested.

    Attributes:
        messages: A conversation, rendered by the chat template. The conversation may exceed the context.
        text: A plain text, used if `messages` is empty.
        bos: Whether the engine adds the BOS token to `text`, if the model begins every text with one.
        ids: Tokens whose text is requested, with the names of control tokens, used if there is nothing else. Only for
            engines with the capabilities `token_ids` and `score`, as is a `bos` of False.
        sampling: Sampling options of the run: some of them change the rendered prompt.
        count_only: Whether to return only the number of tokens: a long list of tokens takes time to transfer.
    """

    messages: tuple[Message, ...] = ()
    text: str = ""
    bos: bool = True
    ids: tuple[int, ...] = ()
    sampling: Mapping[str, Json] = field(default_factory=dict)
    count_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionsRequest:
    """A sequence of tokens for which full distributions over the vocabulary are requested.

    Attributes:
        ids: The tokens, at most as many as the context holds. They are computed from an empty KV cache.
        start: Index in `ids` of the first token after which a distribution is requested, as after all later tokens.
        batch: Largest number of tokens to compute in one step; None for the engine's own batch size. Results
            depend slightly on the batch size, so two batch sizes show the engine's noise floor.
    """

    ids: tuple[int, ...]
    start: int = 0
    batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogitsBlock:
    """Logits after consecutive tokens: one row for each token, one column for each id of the vocabulary.

    A softmax of a row gives the probabilities of the next token; rows are not normalized.

    Attributes:
        start: Index in `DistributionsRequest.ids` of the token that the first row follows.
        rows: Number of rows.
        vocab_size: Number of columns.
        data: `rows` × `vocab_size` float32 numbers, row by row, contiguous. Valid until the next block is requested.
    """

    start: int
    rows: int
    vocab_size: int
    data: memoryview[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopTokensRequest:
    """A sequence of tokens after which the most likely next tokens are requested.

    Attributes:
        ids: The tokens, at most as many as the context holds. The engine adds no token.
        start: Index in `ids` of the first token after which next tokens are requested, as after all later tokens.
        top: Number of tokens to report at each position.
    """

    ids: tuple[int, ...]
    start: int = 0
    top: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """A prompt or a text as tokens.

    Attributes:
        text: The text after the chat template; None if a server returns only the ids.
        ids: The token ids; may be empty if `count` is set.
        count: Number of tokens, in answer to `TokenizeRequest.count_only`; None if `ids` has all tokens.
    """

    text: str | None
    ids: tuple[int, ...]
    count: int | None = None

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.ids) if self.count is None else self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The vocabulary of a model. Two engines with equal fingerprints use the same id for every token.

    Attributes:
        size: Number of tokens, which is also the length of a distribution.
        fingerprint: The result of `paragone.fingerprint` for the vocabulary's tokens.
    """

    size: int
    fingerprint: str


def fingerprint(pieces: Iterable[bytes]) -> str:
    """Return the SHA-256 of a vocabulary, in hexadecimal.

    `pieces` are the bytes of each token, in the order of the ids; for a control token, its name. The
    hash covers all pieces, each preceded by its length as four bytes, little-endian.
    """
    import hashlib  # imported here because hashlib loads OpenSSL, which would slow down the start

    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(4, "little") + piece)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The embeddings of texts.

    Attributes:
        vectors: One vector for each text, in the order of the texts. All vectors have the same length.
        prompt_tokens: Number of tokens of all texts; None if unknown.
    """

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int | None = None
