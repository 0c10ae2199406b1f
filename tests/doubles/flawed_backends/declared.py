"""Flaws in what a backend declares."""

from dataclasses import dataclass, replace

from polite_backend import PoliteBackend, PoliteLoad, PoliteSampling

from flawed_backends.found import found_by
from paragone import (
    Probe,
    option,
)

REACHES = "reached addresses are valid"
OPTIONS = "every option has a doc and a good default"


@found_by(OPTIONS)
class OptionWithoutDoc(PoliteBackend):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class load_options(PoliteLoad):
        threads: int = 1


@found_by(OPTIONS)
class OptionWithBlankDoc(PoliteBackend):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class load_options(PoliteLoad):
        threads: int = option(1, " ")


@found_by(OPTIONS)
class DefaultOutOfBounds(PoliteBackend):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class sampling(PoliteSampling):
        top_p: float = option(2.0, "Sample among this much probability.", maximum=1)


@found_by("no option is declared twice")
class OneOptionTwice(PoliteBackend):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class sampling(PoliteSampling):
        context: int = option(1024, "Context window, in tokens.", minimum=8)


@found_by("options name standard facts")
class NamesNoStandardFact(PoliteBackend):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class load_options(PoliteLoad):
        flash: bool = option(True, "Flash attention.", fact="flashiness")


@found_by("options name standard facts")
class TwoOptionsForOneThing(PoliteBackend):
    @dataclass(frozen=True, slots=True, kw_only=True)
    class sampling(PoliteSampling):
        most: int = option(100, "Words to answer with.", minimum=1, fact="max_tokens")


@found_by("the program accepts it")
class NoTitle(PoliteBackend):
    title = ""


@found_by("the program accepts it")
class NameWithBlanks(PoliteBackend):
    name = "not quite"


@found_by("the probe is complete", "the probe never raises")
class ProbeWithoutFacts(PoliteBackend):
    async def probe(self, python: str | None = None) -> Probe:
        return Probe(usable=True)


@found_by("the probe is complete", "the probe never raises")
class ProbeWithoutRemedy(PoliteBackend):
    async def probe(self, python: str | None = None) -> Probe:
        return Probe(usable=False, reason="It is broken.")


@found_by("the probe never raises")
class ProbeRaises(PoliteBackend):
    async def probe(self, python: str | None = None) -> Probe:
        if python is not None:
            raise FileNotFoundError(python)
        return await super().probe()


@found_by("it lists models")
class ListingRaises(PoliteBackend):
    async def models(self, folders):
        from pathlib import Path

        return [path for folder in folders for path in Path(folder).iterdir()]


@found_by("its server is described")
class ServerCannotBeDescribed(PoliteBackend):
    async def endpoint(self, options):
        raise ConnectionRefusedError


@found_by("the program accepts it")
class WrittenForTheFirstVersion(PoliteBackend):
    api_version = 1


@found_by(REACHES)
class ReachesAPage(PoliteBackend):
    def reaches(self, model, options):
        return ("https://user:secret@models.example/v1",)


@found_by(REACHES)
class LocalAndReachesOut(PoliteBackend):
    def reaches(self, model, options):
        return ("https://models.example:443",)


@found_by(REACHES)
class RemoteAndReachesNothing(PoliteBackend):
    capabilities = replace(PoliteBackend.capabilities, local=False)


@found_by(REACHES)
class ReachesAString(PoliteBackend):
    def reaches(self, model, options):
        return "models.example:443"
