"""What is known before a run that the user should know."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import Caution, RunRequest
from paragone_remote.openai_api.server import Kind

__all__ = ["cautions_before"]


def cautions_before(request: RunRequest, kind: Kind, *, raw: bool) -> Iterator[Caution]:
    """Yield what a server of this kind does not do of what a run asks for. `raw`: whether a text is completed."""
    if request.cold and kind != "llama-server":
        sentence = (
            "This server reuses its KV cache as it sees fit: the prompt may not have been processed anew."
        )
        yield Caution(code="not-cold", sentence=sentence)
    continued = bool(request.messages) and request.messages[-1].role == "assistant"
    if continued and not raw and kind in ("llama-cpp-python", "LM Studio", "unknown"):
        sentence = "This server may begin a new answer rather than go on with the last."
        yield Caution(code="may-not-continue", sentence=sentence)
