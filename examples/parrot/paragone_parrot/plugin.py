"""What the application sees of the parrot: its name, its options and models, and where its engine is."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from paragone import Backend, Capabilities, ModelInfo
from paragone.hooks import hookimpl
from paragone.worker import NativeBackend
from paragone_parrot.options import ParrotLoad, ParrotSampling


class ParrotBackend(NativeBackend):
    """Text files that talk."""

    name = "parrot"
    title = "Parrot"
    api_version = 2
    load_options = ParrotLoad
    sampling = ParrotSampling
    capabilities = Capabilities(tokenize=True, seed=True, local=True)
    engine = "paragone_parrot.engine:ParrotEngine"
    install = "Install it with: pip install paragone-parrot."

    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        found = (path for folder in folders for path in Path(folder).rglob("*.parrot"))
        return [ModelInfo(model=str(path), name=path.stem) for path in sorted(found)]


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    return [ParrotBackend()]
