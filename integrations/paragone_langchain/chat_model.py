"""An engine of paragone as a chat model of LangChain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import ConfigDict, Field, PrivateAttr

from paragone import InputError, Json, TokenizeRequest
from paragone.options import describe
from paragone_langchain.engine_host import Lease, engine_host
from paragone_langchain.messages import PROVIDER, metadata_of, to_messages, usage_of
from paragone_langchain.streams import read, read_async
from paragone_langchain.structured_output import structured
from paragone_workbench.config.read import load
from paragone_workbench.engines.definitions import resolve, with_options
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.serving.protocol.parts import End, Part, Piece
from paragone_workbench.serving.protocol.requests import RequestedAnswer
from paragone_workbench.serving.protocol.token_scores import chat_logprobs

_OWN = ("temperature", "max_tokens", "seed")
"""Sampling options that have a field of their own in ChatParagone."""


class ChatParagone(BaseChatModel):
    """Any engine of paragone: a native engine, which computes in a process of its own, or a model on a server.

    The first request opens the engine. Chat models with the same engine and the same load options share the engine. Closing the
    last of these chat models closes the engine: by `close`, at the end of a `with` block, or by garbage collection.
    Requests wait for each other if the engine computes one answer at a time.

    Engines have no tool calls, so `bind_tools` is not implemented. Failures raise ParagoneError.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    """The name of an engine in config.toml, or `BACKEND:MODEL` or `BACKEND:MODEL@URL`."""
    config: Path | None = None
    """The config file; None for the user's config.toml."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further options of the engine, which override the options in the config. `paragone options BACKEND` lists all options."""
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: list[str] | None = None
    logprobs: bool = False
    """Whether `response_metadata` has the log-probabilities of the answer's tokens, in the form of the OpenAI API."""
    top_logprobs: int = Field(default=0, ge=0, le=20)
    """Number of alternatives to each token, with `logprobs`."""
    streaming: bool = False
    """Whether `invoke` reports each token to the callbacks as soon as the token arrives."""

    _lease: Lease = PrivateAttr()
    _sampling: dict[str, Json] = PrivateAttr()
    """The sampling options among `options`. Chat models that differ only in these options share an engine."""
    _sampling_names: frozenset[str] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Find the engine, without opening it. Raises InputError."""
        definition = resolve(self.model, load(self.config).engines)
        backend = engine_host().registry.get(definition.backend)
        self._sampling_names = frozenset(info.name for info in describe(backend.sampling))
        self._sampling = {name: value for name, value in self.options.items() if name in self._sampling_names}
        to_load = {name: value for name, value in self.options.items() if name not in self._sampling}
        self._lease = Lease(with_options(definition, to_load, backend))

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a model whose answers follow a schema, by the engine's option `json_schema`.

        If the schema is a class of pydantic, the answers are its instances, else dictionaries. With `include_raw`, each
        answer is a dictionary with `raw`, `parsed` and `parsing_error`. `method` and `strict`, which other models of
        LangChain have, change nothing: the engine always follows the schema, and adds no further properties.
        """
        for name in kwargs.keys() - {"method", "strict"}:
            raise InputError(f"with_structured_output has no option {name}.")
        return structured(self, schema, include_raw=include_raw)

    def close(self) -> None:
        """Stop using the engine, and close the engine if no other chat model uses it. Further requests fail."""
        self._lease.close()

    def __enter__(self) -> ChatParagone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get_token_ids(self, text: str) -> list[int]:
        """Return the token ids of a text. Raises ParagoneError if the engine does not report tokens."""
        return list(self._lease.tokenized(TokenizeRequest(text=text)).ids)

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Return the number of tokens of the prompt that the chat template makes of messages."""
        if tools:
            raise InputError("The engines of paragone take no tools.")
        request = TokenizeRequest(messages=to_messages(messages), count_only=True)
        return self._lease.tokenized(request).length

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        definition = self._lease.definition
        return {
            "model": self.model,
            "options": {**definition.options, **self._options_of_run(None, {})},
            "logprobs": self.top_logprobs if self.logprobs else None,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = PROVIDER
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for part in read(self._lease, self._choice(messages, stop, kwargs)):
            chunk = self._chunk(part)
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for part in read_async(self._lease, self._choice(messages, stop, kwargs)):
            chunk = self._chunk(part)
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _choice(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, given: Mapping[str, Any]
    ) -> RequestedAnswer:
        logprobs = self.top_logprobs if self.logprobs else None
        sampling = self._options_of_run(stop, given)
        spec = RunSpec(messages=to_messages(messages), sampling=sampling, logprobs=logprobs)
        return RequestedAnswer(run=spec, logprobs=logprobs)

    def _options_of_run(self, stop: list[str] | None, given: Mapping[str, Any]) -> dict[str, Json]:
        """Return the sampling options of a request. Raises InputError for an option that the engine does not have."""
        own = {name: getattr(self, name) for name in _OWN if getattr(self, name) is not None}
        options = {**self._sampling, **own, **given}
        if (ends := stop or self.stop) is not None:
            options["stop"] = ends
        for name in options:
            if name not in self._sampling_names:
                raise InputError(
                    f"{self.model} has no sampling option {name}.",
                    hint=f"Its sampling options are: {', '.join(sorted(self._sampling_names))}.",
                )
        return options

    def _chunk(self, part: Part) -> ChatGenerationChunk:
        metadata: dict[str, Json] = {}
        if self.logprobs:
            metadata["logprobs"] = chat_logprobs(part.tokens if isinstance(part, Piece) else ())
        if isinstance(part, End):
            message = AIMessageChunk(
                content="",
                response_metadata={**metadata, **metadata_of(part, self.model)},
                usage_metadata=usage_of(part),
                chunk_position="last",
            )
        elif part.channel == "thinking":
            thinking = {"reasoning_content": part.text}
            message = AIMessageChunk(content="", additional_kwargs=thinking, response_metadata=metadata)
        else:
            message = AIMessageChunk(content=part.text, response_metadata=metadata)
        return ChatGenerationChunk(message=message)
