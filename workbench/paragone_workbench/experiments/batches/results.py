"""Turns the results of a batch, in the form of OpenAI's batch API, into runs.

A line of the file is an object with `custom_id`, `response` and `error`. `response` has `status_code` and `body`: the
body of a chat's response, or an object with `error` if the request failed. `error` is null or an object with `message`.
From vLLM, `error` can also be a text, or an object whose `error` is an object with `message`. Sources:
https://platform.openai.com/docs/api-reference/batch/request-output, and `BatchRequestOutput` in vLLM's
`vllm/entrypoints/openai/run_batch.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from paragone import Caution, Json, LoadedModel, RunRequest
from paragone.chat.text import AnswerText
from paragone.json_fields import count_at, list_at, number_at, object_at, text_at, value_at
from paragone.key_text import without_key_words
from paragone.wire import parse_json
from paragone.wording import shortened
from paragone_workbench.dates import is_date
from paragone_workbench.experiments.batches.custom_ids import CustomId
from paragone_workbench.experiments.batches.requests import BatchEngine
from paragone_workbench.experiments.running.cells import Cell
from paragone_workbench.identity import derived_id
from paragone_workbench.runs.manifest import manifest
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult

_LONGEST_ERROR = 500


class BatchLineError(ValueError):
    """A line that is not a result of a batch. The text is a sentence for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """A line of the file of results."""

    custom_id: str
    error: str = ""
    """Why the request failed; empty if the request succeeded."""
    text: str = ""
    thinking: str = ""
    finish: str = ""
    """The server's `finish_reason`."""
    usage: Mapping[str, Json] = field(default_factory=dict)
    model: str = ""
    """The server's name for the model."""
    created: float | None = None
    """When the server made the answer, by the server's clock, in seconds since 1970."""


def read_result(line: bytes) -> BatchResult:
    """Return the result in a line. Raises BatchLineError if the line has no result."""
    try:
        data = parse_json(line)
    except ValueError as fault:
        raise BatchLineError(f"This is not valid JSON: {fault}.") from fault
    if not isinstance(custom_id := value_at(data, "custom_id"), str):
        raise BatchLineError("This is not a result of a batch: there is no custom_id.")
    response, body = object_at(data, "response"), object_at(data, "response", "body")
    status = response.get("status_code")
    error = value_at(data, "error") or body.get("error")
    if error or status not in (None, 200):
        reason = _message(error) or "the result does not say why"
        code = f" (HTTP {status})" if isinstance(status, int) else ""
        return BatchResult(
            custom_id=custom_id, error=f"The request failed in the batch{code}: {reason.rstrip('.')}."
        )
    if not response:
        raise BatchLineError("The result has neither a response nor an error.")
    return _answer(custom_id, body)


def _answer(custom_id: str, body: Mapping[str, Json]) -> BatchResult:
    choice = next(iter(list_at(body, "choices")), None)
    message = value_at(choice, "message")
    if not isinstance(message, Mapping):
        raise BatchLineError("The response has no answer in choices[0].message.")
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise BatchLineError("The response has an answer that is not a text.")
    text, thinking = content or "", text_at(message, "reasoning_content") or text_at(message, "reasoning")
    if not thinking:
        text, thinking = _separated(text)
    created = number_at(body, "created")
    return BatchResult(
        custom_id=custom_id,
        text=text or text_at(message, "refusal"),
        thinking=thinking,
        finish=text_at(choice, "finish_reason"),
        usage=object_at(body, "usage"),
        model=text_at(body, "model"),
        created=float(created) if created is not None and is_date(created) else None,
    )


def _separated(content: str) -> tuple[str, str]:
    """Return the answer, and the thinking that the server left between tags before the answer."""
    reader = AnswerText()
    tokens = [*reader.push(content, None, 0.0), *reader.finish()]
    answer, thinking = (
        "".join(token.text for token in tokens if token.channel == channel)
        for channel in ("answer", "thinking")
    )
    return answer, thinking


def run_result(result: BatchResult, place: CustomId, engine: BatchEngine, cell: Cell) -> RunResult:
    """Turn a result of a batch into a run. The same answer to the same request always has the same id.

    The run has no durations, because none were measured. The start of the run is the time of the answer.
    """
    request = RunRequest(messages=cell.prompt.messages, sampling=engine.sampling_of(cell))
    loaded = LoadedModel(name=result.model or engine.definition.model)
    # written as ASCII, because a text from JSON may have half a surrogate pair
    content = json.dumps([result.error, result.text, result.thinking])
    return RunResult(
        id=derived_id("batch", str(place), content),
        definition=engine.definition,
        started=time.time() if result.created is None else result.created,
        state="failed" if result.error else "done",
        finish=None if result.error else "length" if result.finish == "length" else "stop",
        error=result.error,
        hint="`paragone suite export` with --retry-failed writes the request again." if result.error else "",
        text=result.text,
        thinking=result.thinking,
        cautions=tuple(_cautions(result, engine)),
        metrics=_metrics(result.usage),
        manifest=manifest(engine.definition, engine.backend, loaded, request, schedule="batch"),
    )


def _cautions(result: BatchResult, engine: BatchEngine) -> Iterator[Caution]:
    for name in engine.left_out:
        yield Caution(code="option-refused", sentence=f"A batch has no field for {name}, so it was left out.")
    if result.finish == "content_filter":
        yield Caution(code="filtered", sentence="The server's filter ended the answer.")


def _metrics(usage: Mapping[str, Json]) -> RunMetrics | None:
    """Return the token counts; None if the server did not count the tokens of the answer."""
    generated = count_at(usage, "completion_tokens")
    if generated is None:
        return None
    return RunMetrics(
        prompt_tokens=count_at(usage, "prompt_tokens"),
        cached_tokens=count_at(usage, "prompt_tokens_details", "cached_tokens"),
        completion_tokens=generated,
    )


def _message(error: Json) -> str:
    """Return the message of an error in one line, without API keys, since services repeat a wrong key."""
    while isinstance(error, Mapping):
        error = error.get("message") or error.get("error") or error.get("code")
    return shortened(without_key_words(" ".join(str(error).split())), _LONGEST_ERROR) if error else ""
