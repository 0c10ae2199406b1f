"""Checks of a backend's declarations, before a model is open."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from paragone.backend import Backend, Probe
from paragone.discovery import checked_backend
from paragone.facts import STANDARD_FACTS
from paragone.options import Options, build, describe
from paragone.testing.fixtures import ConformanceFixtures
from paragone.testing.runs import check_plain, within
from paragone.values.messages import OpenRequest

ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://)?([^\s/:@]+|\[[0-9a-fA-F:.]+\]):\d+")
"""An address without path and credentials, because the program shows addresses."""


class DeclarationChecks(ConformanceFixtures):
    """Names, options, capabilities, the probe and the list of models."""

    async def test_the_program_accepts_it(self, backend: Backend) -> None:
        """A backend has a name, a title and classes of options, and declares the current version of the plugin interface."""
        checked_backend(backend)
        assert backend.title.strip(), "the title is empty"

    async def test_quantizations_have_plausible_sizes(self, backend: Backend) -> None:
        """Each usual quantization has a name, and between 0 and 32 bits per weight."""
        for name, bits in backend.quantizations.items():
            assert name.strip(), "a quantization has no name"
            assert 0 < bits <= 32, f"{name} has {bits} bits per weight"

    @pytest.mark.parametrize("when", ["load_options", "sampling"])
    async def test_every_option_has_a_doc_and_a_good_default(self, backend: Backend, when: str) -> None:
        """Each option has a doc, and a default within its own bounds."""
        options: type[Options] = getattr(backend, when)
        for field in dataclasses.fields(options):
            assert "doc" in field.metadata, f"declare {field.name!r} with paragone.option"
            assert field.default is not dataclasses.MISSING, f"the option {field.name!r} has no default"
        for info in describe(options):
            assert info.doc.strip(), f"the option {info.name!r} has no doc"
            built = build(options, {info.name: info.default})
            assert built == options(), f"the default of {info.name!r} changes when it is checked"

    async def test_reached_addresses_are_valid(self, backend: Backend, opening: OpenRequest) -> None:
        """`reaches` returns valid addresses, and none for a local engine without options."""
        addresses = backend.reaches(opening.model, opening.options)
        assert isinstance(addresses, tuple), f"{addresses!r} is not a tuple"
        for address in addresses:
            assert isinstance(address, str), f"{address!r} is not a string"
            assert ADDRESS.fullmatch(address), f"{address!r} is neither SCHEME://HOST:PORT nor HOST:PORT"
        if backend.capabilities.local:
            plain = backend.reaches(opening.model, {})
            assert plain == (), f"a local engine without options contacts {plain!r}"
        else:
            assert addresses, "the backend is not local, but reaches() returns no address"

    async def test_no_option_is_declared_twice(self, backend: Backend) -> None:
        """An option is either a load option or a sampling option, not both."""
        both = {info.name for info in describe(backend.load_options)} & {
            info.name for info in describe(backend.sampling)
        }
        assert not both, f"options in both load_options and sampling: {', '.join(sorted(both))}"

    async def test_options_name_standard_facts(self, backend: Backend) -> None:
        """The facts that load options set are standard facts, and no two options have the same name for comparisons."""
        standard = {fact.name for fact in STANDARD_FACTS}
        facts = [info.fact for info in describe(backend.load_options) if info.fact]
        unknown = set(facts) - standard
        assert not unknown, f"no standard facts: {', '.join(sorted(unknown))}"
        sampling = [info.fact or info.name for info in describe(backend.sampling)]
        for names in (facts, sampling):
            twice = {name for name in names if names.count(name) > 1}
            assert not twice, f"several options for {', '.join(sorted(twice))}"

    async def test_the_probe_is_complete(self, backend: Backend, opening: OpenRequest) -> None:
        """A probe returns facts, or the reason why the backend is not usable and a remedy."""
        probe = await within(self.patience, "the probe", backend.probe(opening.python))
        check_probe(probe)
        assert probe.usable, f"the suite needs a usable backend: {probe.reason} {probe.remedy}"

    async def test_the_probe_never_raises(self, backend: Backend) -> None:
        """A probe with an interpreter that does not exist also returns a result."""
        check_probe(await within(self.patience, "the probe", backend.probe("/nowhere/bin/python")))

    async def test_it_lists_models(self, backend: Backend, opening: OpenRequest, tmp_path: Path) -> None:
        """Empty and missing folders cause no error, and a model on disk is found in its folder."""
        folders = [str(tmp_path), str(tmp_path / "not there")]
        model = Path(opening.model)
        on_disk = backend.capabilities.local and model.exists()
        if on_disk:
            folders.append(str(model.parent))
        models = await within(self.patience, "listing models", backend.models(folders))
        for info in models:
            check_plain(info)
            assert info.model, f"{info!r} has no model to open"
            assert info.name, f"{info!r} has no name"
        if on_disk:
            found = [Path(info.model) for info in models]
            assert any(path.exists() and path.samefile(model) for path in found), f"{model} was not found"

    async def test_its_server_is_described(self, backend: Backend, opening: OpenRequest) -> None:
        """A backend with servers describes the server of the model to open."""
        report = await within(self.patience, "describing the server", backend.endpoint(opening.options))
        if report is not None:
            check_plain(report)
            check_probe(report.probe)
            assert report.probe.usable, f"{report.address}: {report.probe.reason} {report.probe.remedy}"


def check_probe(probe: Probe) -> None:
    """Check that a probe gives the user enough information to act on."""
    check_plain(probe)
    if probe.usable:
        assert probe.facts, "the probe of a usable backend must have facts, at least its version"
    else:
        assert probe.reason.strip(), "the probe has no reason why the backend is not usable"
        assert probe.remedy.strip(), "the probe has no remedy"
    for name, fact in probe.facts.items():
        assert isinstance(fact, str), f"the fact {name!r} is not a string: {fact!r}"
