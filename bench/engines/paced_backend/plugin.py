"""The plugin of the paced backend."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from paced_backend.options import PacedSampling
from paragone import Backend, Capabilities, ModelInfo
from paragone.hooks import hookimpl
from paragone.worker import NativeBackend


class PacedBackend(NativeBackend):
    name = "paced"
    title = "Paced text"
    api_version = 2
    sampling = PacedSampling
    capabilities = Capabilities()
    engine: ClassVar[str] = "paced_backend.engine:PacedEngine"

    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        return ()


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    return [PacedBackend()]
