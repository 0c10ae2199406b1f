"""Cautions that are known before a run."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import Caution, RunRequest
from paragone_remote.openai_api.servers.server import Kind

__all__ = ["cautions_before"]


def cautions_before(request: RunRequest, kind: Kind, *, raw: bool) -> Iterator[Caution]:
    """Yield cautions about requested features that a server of this kind does not support.

    `raw` says whether the run uses the completions endpoint.
    """
    if request.cold and kind != "llama-server":
        sentence = "This server may reuse its KV cache: the prompt may not have been processed completely."
        yield Caution(code="not-cold", sentence=sentence)
    continued = bool(request.messages) and request.messages[-1].role == "assistant"
    if continued and not raw and kind in ("llama-cpp-python", "LM Studio", "unknown"):
        sentence = "This server may start a new answer instead of continuing the last one."
        yield Caution(code="may-not-continue", sentence=sentence)
