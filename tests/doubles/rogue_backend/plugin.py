"""The plugin of the rogue backend."""

import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from paragone import Backend, Capabilities, Json, ModelInfo
from paragone.crash_causes import CrashCause
from paragone.hooks import hookimpl
from paragone.options import build
from paragone.worker import NativeBackend
from rogue_backend.options import RogueLoad, RogueSampling


class RogueBackend(NativeBackend):
    name = "rogue"
    title = "Rogue"
    api_version = 2
    load_options = RogueLoad
    sampling = RogueSampling
    capabilities = Capabilities(tokenize=True, estimate=True, continues=True, local=True)
    engine: ClassVar[str] = "rogue_backend.engine:RogueEngine"
    crash_causes = (
        CrashCause(
            signals=(signal.SIGSEGV,), build="ROGUE = 1", cause="it is a rogue", cure="Ask it politely."
        ),
    )

    def reaches(self, model: str, options: Mapping[str, Json]) -> tuple[str, ...]:
        return build(RogueLoad, options).peers

    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        return ()


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    return [RogueBackend()]
