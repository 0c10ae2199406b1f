"""The plugin interface of paragone: the types and base classes that a backend uses.

This package imports only the standard library. Import `paragone.assertions` (the interface of an assertion), `paragone.hooks`
(the hooks that plugins implement) and `paragone.testing` (the conformance suite) separately. Each module is imported when one
of its names is first used, because most programs and workers need only a few.

"""
# ruff: noqa: F403 (each of these modules lists in `__all__` what belongs to the interface)

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

_NAMES = {
    "backend": (
        "API_VERSION", "Backend", "EndpointReport", "OnProgress", "OpenEngine", "Probe", "PullProgress",
    ),
    "engine": ("Cancelled", "Engine", "Report"),
    "errors": ("ContextOverflow", "EngineCrashed", "EngineError", "InputError", "ParagoneError"),
    "events": (
        "Alternative", "Caution", "Channel", "Event", "Finish", "FinishReason", "LoadProgress",
        "PromptProgress", "Queued", "RunSettings", "Timings", "Token", "Usage",
    ),
    "models": (
        "Capabilities", "DeviceMemory", "LoadedModel", "MemoryEstimate", "ModelInfo", "ModelLayout", "ModelPart",
        "WeightsFile",
    ),
    "options": ("Options", "option"),
    "requests": (
        "DistributionsRequest", "EmbedRequest", "Embeddings", "Image", "LogitsBlock", "Message", "OpenRequest", "Role",
        "RunRequest", "ScoreRequest", "TokenizeRequest", "TokenizedText", "TopTokensRequest", "Vocabulary",
        "fingerprint",
    ),
    "wire": ("Json",),
}  # fmt: skip
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_MODULES)

if TYPE_CHECKING:
    from paragone.backend import *
    from paragone.engine import *
    from paragone.errors import *
    from paragone.events import *
    from paragone.models import *
    from paragone.options import Options as Options
    from paragone.options import option as option
    from paragone.requests import *
    from paragone.wire import Json as Json
else:

    def __getattr__(name: str) -> object:
        """Import a name of the interface when it is first used."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
