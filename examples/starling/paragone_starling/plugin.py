"""The backend of starling models, with every capability that a native engine of its kind can have."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from paragone import Backend, Capabilities, ModelInfo
from paragone.hooks import hookimpl
from paragone.worker import NativeBackend
from paragone_starling.options import StarlingLoad, StarlingSampling


class StarlingBackend(NativeBackend):
    """Texts whose bytes are tokens."""

    name = "starling"
    title = "Starling"
    api_version = 2
    load_options = StarlingLoad
    sampling = StarlingSampling
    capabilities = Capabilities(
        logprobs=True,
        tokenize=True,
        score=True,
        distributions=True,
        estimate=True,
        seed=True,
        continues=True,
        local=True,
    )
    engine = "paragone_starling.engine:StarlingEngine"
    install = "Install it with: pip install paragone-starling."

    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        found = (path for folder in folders for path in Path(folder).rglob("*.starling"))
        return [ModelInfo(model=str(path), name=path.stem) for path in sorted(found)]


@hookimpl
def paragone_backends() -> Iterable[Backend]:
    """Return the backends of this plugin."""
    return [StarlingBackend()]
