"""The plugin interface of paragone: the types and base classes that a backend uses.

This package imports the standard library only. Import `paragone.assertions` (the interface of an
assertion), `paragone.hooks` (the hooks that plugins implement) and `paragone.testing` (the conformance
suite) separately.

A module of it is imported when one of its names is first used: most programs and workers need few of them.
`__init__.pyi` has the same names for type checkers.
"""

from __future__ import annotations

import importlib

_NAMES = {
    "backend": (
        "API_VERSION",
        "Backend",
        "EndpointReport",
        "OnProgress",
        "OpenEngine",
        "Probe",
        "PullProgress",
    ),
    "values.distributions": ("LogitsBlock",),
    "engine": ("Cancelled", "Engine", "Report"),
    "errors": ("ContextOverflow", "EngineCrashed", "EngineError", "InputError", "ParagoneError"),
    "values.events": (
        "Alternative",
        "Caution",
        "Channel",
        "Event",
        "Finish",
        "FinishReason",
        "LoadProgress",
        "PromptProgress",
        "Queued",
        "RunSettings",
        "Timings",
        "Token",
        "Usage",
    ),
    "values.memory": ("DeviceMemory", "MemoryEstimate", "ModelLayout", "ModelPart"),
    "values.messages": (
        "DistributionsRequest",
        "Image",
        "Message",
        "OpenRequest",
        "Role",
        "RunRequest",
        "ScoreRequest",
        "TokenizeRequest",
        "TopTokensRequest",
    ),
    "values.models": ("Capabilities", "LoadedModel", "ModelInfo"),
    "options": ("Options", "option"),
    "values.tokens": ("TokenizedText", "Vocabulary", "fingerprint"),
    "values.weights": ("WeightsFile",),
    "wire": ("Json",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> object:
    """Import a name of the interface, the first time that it is used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value
