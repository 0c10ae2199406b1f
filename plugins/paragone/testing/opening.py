"""Checks of a backend's declarations, of opening and loading a model, of memory estimates, and of embeddings."""

import asyncio
import contextlib
import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from paragone import checks, discovery, errors, requests
from paragone.backend import Backend, OpenEngine, Probe
from paragone.events import LoadProgress
from paragone.facts import STANDARD_FACTS
from paragone.models import WeightsFile
from paragone.options import Options, build, describe, parse
from paragone.testing import runs
from paragone.testing.subject import ConformanceFixtures, Opened, Subject

ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://)?([^\s/:@]+|\[[0-9a-fA-F:.]+\]):\d+")
"""An address without path and credentials, because the program shows addresses."""


class DeclarationChecks(ConformanceFixtures):
    """Names, options, capabilities, the probe and the list of models."""

    async def test_the_program_accepts_it(self, backend: Backend) -> None:
        """A backend has a name, a title and classes of options, and declares the current version of the plugin interface."""
        discovery.checked_backend(backend)
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

    async def test_reached_addresses_are_valid(self, backend: Backend, opening: requests.OpenRequest) -> None:
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

    async def test_the_probe_is_complete(self, backend: Backend, opening: requests.OpenRequest) -> None:
        """A probe returns facts, or the reason why the backend is not usable and a remedy."""
        probe = await runs.within(self.patience, "the probe", backend.probe(opening.python))
        check_probe(probe)
        assert probe.usable, f"the suite needs a usable backend: {probe.reason} {probe.remedy}"

    async def test_the_probe_never_raises(self, backend: Backend) -> None:
        """A probe with an interpreter that does not exist also returns a result."""
        check_probe(await runs.within(self.patience, "the probe", backend.probe("/nowhere/bin/python")))

    async def test_it_lists_models(
        self, backend: Backend, opening: requests.OpenRequest, tmp_path: Path
    ) -> None:
        """Empty and missing folders cause no error, and a model on disk is found in its folder."""
        folders = [str(tmp_path), str(tmp_path / "not there")]
        model = Path(opening.model)
        on_disk = backend.capabilities.local and model.exists()
        if on_disk:
            folders.append(str(model.parent))
        models = await runs.within(self.patience, "listing models", backend.models(folders))
        for info in models:
            runs.check_plain(info)
            assert info.model, f"{info!r} has no model to open"
            assert info.name, f"{info!r} has no name"
        if on_disk:
            found = [Path(info.model) for info in models]
            assert any(path.exists() and path.samefile(model) for path in found), f"{model} was not found"

    async def test_its_server_is_described(self, backend: Backend, opening: requests.OpenRequest) -> None:
        """A backend with servers describes the server of the model to open."""
        report = await runs.within(self.patience, "describing the server", backend.endpoint(opening.options))
        if report is not None:
            runs.check_plain(report)
            check_probe(report.probe)
            assert report.probe.usable, f"{report.address}: {report.probe.reason} {report.probe.remedy}"


def check_probe(probe: Probe) -> None:
    """Check that a probe gives the user enough information to act on."""
    runs.check_plain(probe)
    if probe.usable:
        assert probe.facts, "the probe of a usable backend must have facts, at least its version"
    else:
        assert probe.reason.strip(), "the probe has no reason why the backend is not usable"
        assert probe.remedy.strip(), "the probe has no remedy"
    for name, fact in probe.facts.items():
        assert isinstance(fact, str), f"the fact {name!r} is not a string: {fact!r}"


class OpeningChecks(ConformanceFixtures):
    """The methods `open` and `close`."""

    async def test_loading_reports_progress(self, engine: OpenEngine, opened: Opened) -> None:
        """Load progress, if there is any, never decreases and ends at 1."""
        fractions = [progress.fraction for progress in opened.progress]
        assert all(0 <= fraction <= 1 for fraction in fractions), (
            f"load progress not from 0 to 1: {fractions}"
        )
        assert fractions == sorted(fractions), f"load progress fell: {fractions}"
        assert not fractions or fractions[-1] == 1, f"load progress ended at {fractions[-1]}"

    async def test_the_loaded_model_is_described(self, engine: OpenEngine) -> None:
        """The description of the open model has valid types and values."""
        loaded = engine.loaded
        runs.check_plain(loaded)
        assert loaded.name.strip(), "the loaded model has no name"
        assert loaded.context is None or loaded.context > 0
        assert loaded.size is None or loaded.size > 0
        for caution in loaded.cautions:
            assert caution.code, f"{caution!r} has no code"
            assert caution.sentence.strip(), f"{caution!r} has no sentence for the user"
        for name, fact in loaded.facts.items():
            assert isinstance(fact, str), f"the fact {name!r} is not a string: {fact!r}"

    async def test_the_weights_are_files_that_exist(self, engine: OpenEngine) -> None:
        """Every file of weights matches its description; a server's model has a digest."""
        for file in engine.loaded.weights:
            if file.modified_ns is not None:
                assert WeightsFile.of(file.path) == dataclasses.replace(file, sha256=None), (
                    f"{file.path} is not the file that was loaded"
                )
            else:
                assert file.sha256 is not None, f"nothing identifies the weights {file.path!r}"
            assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256), (
                f"not a SHA-256 in hexadecimal digits: {file.sha256!r}"
            )

    async def test_facts_are_in_the_notation_of_their_options(
        self, backend: Backend, engine: OpenEngine
    ) -> None:
        """If an option sets a fact, the value of the fact is a valid value of the option."""
        for info in describe(backend.load_options):
            if info.fact in engine.loaded.facts:
                value = engine.loaded.facts[info.fact]
                build(backend.load_options, {info.name: parse(backend.load_options, info.name, value)})

    async def test_two_engines_are_open_side_by_side(
        self, opening: requests.OpenRequest, subject: Subject
    ) -> None:
        """Two engines answer at the same time, and closing the second does not affect the first."""
        other = await subject.within("opening", subject.backend.open(opening, ignore))
        try:
            request = dataclasses.replace(subject.asked(), threads=1)
            both = asyncio.gather(
                *(runs.events_of(engine.run(request)) for engine in (subject.engine, other))
            )
            for events in await runs.within(2 * self.patience, "two answers at once", both):
                runs.check_events(events)
        finally:
            await subject.within("closing", other.close())
        await subject.complete(request)

    async def test_opening_can_be_cancelled(
        self, backend: Backend, opening: requests.OpenRequest, sampling: runs.Sampling
    ) -> None:
        """A cancelled task that opens a model ends soon. The next task can open the model."""
        task = asyncio.create_task(opened_and_closed(backend, opening))
        await asyncio.sleep(0)  # lets the task begin
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await runs.within(self.grace, "giving up", task)
        assert task.cancelled(), "open() did not pass on CancelledError"
        engine = await runs.within(self.patience, "opening", backend.open(opening, ignore))
        try:
            runs.check_events(
                await runs.within(
                    self.patience, "an answer", runs.events_of(engine.run(runs.asked("Hello?", sampling)))
                )
            )
        finally:
            await runs.within(self.patience, "closing", engine.close())

    async def test_a_closed_engine_cannot_be_used(
        self, backend: Backend, opening: requests.OpenRequest, sampling: runs.Sampling
    ) -> None:
        """An engine can be closed twice, and a closed engine raises errors."""
        engine = await runs.within(self.patience, "opening", backend.open(opening, ignore))
        await runs.within(self.patience, "closing", engine.close())
        await runs.within(self.patience, "closing again", engine.close())
        await runs.within(self.patience, "stopping a closed engine", engine.stop())
        with pytest.raises(errors.ParagoneError):
            await runs.within(
                self.patience,
                "refusing to answer",
                runs.events_of(engine.run(runs.asked("Hello?", sampling))),
            )
        with pytest.raises(errors.ParagoneError):
            await runs.within(
                self.patience,
                "refusing to tokenize",
                engine.tokenize(requests.TokenizeRequest(text="Hello?")),
            )


async def opened_and_closed(backend: Backend, opening: requests.OpenRequest) -> None:
    """Open an engine, and close the engine if opening succeeds."""
    engine = await backend.open(opening, ignore)
    await engine.close()


def ignore(progress: LoadProgress) -> None:
    """Ignore the progress."""


class LoadingChecks(ConformanceFixtures):
    """The capability `loads`. No other program may use the model during these tests."""

    async def test_the_server_tells_that_the_model_is_loaded(
        self, opening: requests.OpenRequest, subject: Subject
    ) -> None:
        """While an engine is open, a server that loads models describes the model as loaded."""
        if subject.able.loads:
            assert await is_loaded(subject, opening), "the server does not say that the model is loaded"

    async def test_the_last_engine_to_be_closed_unloads_the_model(
        self, opening: requests.OpenRequest, opened: Opened, subject: Subject
    ) -> None:
        """Closing one of two engines keeps the model loaded; closing the other engine unloads the model."""
        loads = subject.able.loads
        other = await subject.within("opening", subject.backend.open(opening, ignore))
        left = await subject.within("closing", other.close())
        assert left is None, f"closing one of two engines reports {left}"
        if loads:
            assert await is_loaded(subject, opening), "an engine is open, but its model was unloaded"
        opened.engine = None  # the next test opens a new engine
        left = await subject.within("closing", subject.engine.close())
        assert left is None, f"closing the engine that loaded the model reports {left}"
        if loads:
            assert not await is_loaded(subject, opening), "no engine is open, but the model is loaded"


async def is_loaded(subject: Subject, opening: requests.OpenRequest) -> bool:
    """Return whether the server describes the model as loaded."""
    report = await subject.within("describing the server", subject.backend.endpoint(opening.options))
    assert report is not None, "a backend that loads models must describe its server"
    for info in report.models:
        if opening.model in (info.model, *info.aliases):
            assert info.is_loaded is not None, "the server does not tell whether the model is loaded"
            return info.is_loaded
    pytest.fail(f"the server does not list the model {opening.model!r}")


class EstimateChecks(ConformanceFixtures):
    """The method `estimate`."""

    async def test_memory_is_estimated(self, backend: Backend, opening: requests.OpenRequest) -> None:
        """An estimate lists the memory for each purpose. Backends without estimates raise an error."""
        if not backend.capabilities.estimate:
            work = runs.within(self.patience, "an estimate", backend.estimate(opening))
            await runs.refused(work, kind=errors.ParagoneError)
            return
        estimate = await runs.within(self.patience, "an estimate", backend.estimate(opening))
        runs.check_plain(estimate)
        assert estimate.context > 0, f"a context of {estimate.context} tokens"
        assert estimate.devices, "the estimate has no devices"
        for device in estimate.devices:
            parts = (device.weights, device.kv_cache, device.compute)
            assert min(parts) >= 0, f"negative memory: {device!r}"
            assert device.total is None or device.free is None or device.free <= device.total, f"{device!r}"
        assert sum(device.weights for device in estimate.devices) > 0, "the weights take no memory"
        if estimate.layers is not None and estimate.gpu_layers is not None:
            assert 0 <= estimate.gpu_layers <= estimate.layers + 1, f"{estimate!r}"
        for number in (estimate.trained_context, estimate.parameters):
            assert number is None or number > 0, f"{estimate!r}"

    async def test_the_parts_of_a_model_add_up(self, backend: Backend, opening: requests.OpenRequest) -> None:
        """The parts of a layout have, in total, as many bytes of KV cache and of weights as the devices."""
        runs.needs(backend.capabilities.estimate, "the backend does not estimate")
        estimate = await runs.within(self.patience, "an estimate", backend.estimate(opening))
        layout = estimate.layout
        if layout is None:
            pytest.skip("the backend does not say how a model can be divided")
        assert layout.parts, "the layout has no parts"
        assert min(layout.main_weights, layout.compute) >= 0, f"negative memory: {layout!r}"
        for part in layout.parts:
            assert min(part.weights, part.kv_cache) >= 0, f"negative memory: {part!r}"
            assert 0 <= part.shared <= part.weights, f"{part!r}"
        cache = sum(part.kv_cache for part in layout.parts)
        planned = sum(device.kv_cache for device in estimate.devices)
        assert cache == pytest.approx(planned, rel=0.01), f"the parts have {cache} bytes of KV cache"
        # A GPU may have a copy of the weights that are also in main memory.
        least = layout.main_weights + sum(part.weights - part.shared for part in layout.parts)
        most = layout.main_weights + sum(part.weights for part in layout.parts)
        weights = sum(device.weights for device in estimate.devices)
        assert 0.99 * least <= weights <= 1.01 * most, f"the parts have {least} bytes of weights"

    async def test_an_estimate_fails_like_opening(
        self, backend: Backend, opening: requests.OpenRequest
    ) -> None:
        """The error for a missing model or an unknown option contains its name."""
        runs.needs(backend.capabilities.estimate, "the backend does not estimate")
        options = {**opening.options, "no_such_option": 1}
        for name, wrong in (
            ("no-such-model", dataclasses.replace(opening, model="no-such-model")),
            ("no_such_option", dataclasses.replace(opening, options=options)),
        ):
            work = backend.estimate(wrong)
            await runs.refused(
                runs.within(self.patience, "refusing to estimate", work), name, kind=errors.InputError
            )


TEXTS = ("The sea is deep, 海は深い.", "Nobody knows the way home.", "one two three four")
SAME = 0.999
"""Smallest cosine of two embeddings of the same text, which differ slightly because results may depend on the batch."""


class EmbeddingChecks(ConformanceFixtures):
    """`embed`: its vectors, its token counts, and an early end."""

    async def test_texts_are_embedded(self, subject: Subject) -> None:
        """Each text has a vector, which does not depend on the other texts. Backends without embeddings raise an error."""
        if not subject.able.embeddings:
            await runs.refused(embed(subject, requests.EmbedRequest(texts=TEXTS)), kind=errors.ParagoneError)
            return
        vectors = check_vectors(await embed(subject, requests.EmbedRequest(texts=(*TEXTS, TEXTS[0]))), 4)
        assert cosine(vectors[0], vectors[3]) > SAME, "equal texts have different embeddings"
        for at, text in enumerate(TEXTS):
            (alone,) = check_vectors(await embed(subject, requests.EmbedRequest(texts=(text,))), 1)
            assert cosine(alone, vectors[at]) > SAME, f"the embedding of {text!r} depends on the other texts"
        assert cosine(vectors[0], vectors[1]) < SAME, "different texts have the same embedding"

    async def test_tokens_are_embedded(self, subject: Subject) -> None:
        """Sequences of tokens have vectors like texts, and the engine adds no tokens."""
        able = subject.able
        runs.needs(
            able.embeddings and able.token_ids and able.tokenize,
            "the backend does not embed token ids, or does not tokenize",
        )
        ids = await subject.ids_of(TEXTS[0])
        found = await embed(subject, requests.EmbedRequest(ids=(ids, ids[:2], ids)))
        vectors = check_vectors(found, 3)
        assert cosine(vectors[0], vectors[2]) > SAME, "equal tokens have different embeddings"
        assert cosine(vectors[0], vectors[1]) < SAME, "different tokens have the same embedding"
        assert found.prompt_tokens in (None, 2 * len(ids) + 2), f"{found.prompt_tokens} tokens were counted"

    async def test_embedding_can_be_stopped(self, subject: Subject) -> None:
        """`stop` ends `embed` soon, with an EngineError unless all vectors are complete. The engine is then free."""
        runs.needs(subject.able.embeddings, "the backend computes no embeddings")
        task = asyncio.ensure_future(
            subject.engine.embed(requests.EmbedRequest(texts=(subject.long_text(500),) * 16))
        )
        await asyncio.sleep(0.05)
        await runs.within(subject.grace, "`stop`", subject.engine.stop())
        try:
            await runs.within(subject.grace, "ending embeddings that were stopped", task)
        except errors.EngineError as error:
            runs.check_error(error)
        await subject.still_answers()


async def embed(subject: Subject, request: requests.EmbedRequest) -> requests.Embeddings:
    """Return the embeddings of texts."""
    return await subject.within("embedding", subject.engine.embed(request))


def check_vectors(found: requests.Embeddings, count: int) -> tuple[tuple[float, ...], ...]:
    """Check the embeddings of `count` texts, and return the vectors."""
    checks.check_embeddings(found, count)
    assert all(any(vector) for vector in found.vectors), "an embedding is all zeros"
    assert found.prompt_tokens is None or found.prompt_tokens >= count, (
        f"{found.prompt_tokens} tokens of {count} texts"
    )
    return found.vectors


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors."""
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))
