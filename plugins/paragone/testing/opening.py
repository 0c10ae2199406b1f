"""Checks of a backend's declarations, of opening and loading a model, of memory estimates, and of embeddings."""

import asyncio
import contextlib
import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from paragone import discovery, errors, requests
from paragone.backend import API_VERSION, Backend, OpenEngine, Probe
from paragone.facts import STANDARD_FACTS
from paragone.models import WeightsFile
from paragone.options import Options, build, describe, parse
from paragone.testing import runs

ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*://)?([^\s/:@]+|\[[0-9a-fA-F:.]+\]):\d+")
"""An address without path and credentials, because the program shows addresses."""

TEXTS = ("The sea is deep, 海は深い.", "Nobody knows the way home.", "one two three four")
SAME = 0.999
"""Smallest cosine of two embeddings of the same text, which differ slightly because results may depend on the batch."""


class OpeningChecks(runs.ConformanceFixtures):
    """What a backend declares, how its models are opened and closed, memory estimates, and embeddings."""

    async def test_the_program_accepts_it(self, backend: Backend) -> None:
        """A backend has a name, a title and classes of options, and declares the current version of the plugin interface.

        Each of its usual quantizations has a name, and between 0 and 32 bits per weight.
        """
        assert backend.api_version == API_VERSION, (
            f"set `api_version = {API_VERSION}`, not {backend.api_version}"
        )
        discovery.checked_backend(backend)
        assert backend.title.strip(), "the title is empty"
        for name, bits in backend.quantizations.items():
            assert name.strip(), "a quantization has no name"
            assert 0 < bits <= 32, f"{name} has {bits} bits per weight"

    @pytest.mark.parametrize("when", ["load_options", "sampling"])
    async def test_every_option_has_a_doc_and_a_good_default(self, backend: Backend, when: str) -> None:
        """Each option has a doc, and a default within its own bounds."""
        options: type[Options] = getattr(backend, when)
        for field in dataclasses.fields(options):
            assert "doc" in field.metadata, (
                f"declare the option {field.name!r} with paragone.option(default, doc)"
            )
            assert field.default is not dataclasses.MISSING, f"give the option {field.name!r} a default"
        for info in describe(options):
            assert info.doc.strip(), f"the option {info.name!r} has no doc"
            built = build(options, {info.name: info.default})
            assert built == options(), (
                f"the default of {info.name!r} changes when it is checked: use the declared type"
            )

    async def test_options_have_their_own_names(self, backend: Backend) -> None:
        """An option is either a load option or a sampling option, and no two options have the same name for comparisons.

        The facts that load options set are standard facts.
        """
        load, sampling = describe(backend.load_options), describe(backend.sampling)
        both = {info.name for info in load} & {info.name for info in sampling}
        assert not both, f"options in both load_options and sampling: {', '.join(sorted(both))}"
        facts = [info.fact for info in load if info.fact]
        unknown = set(facts) - {fact.name for fact in STANDARD_FACTS}
        assert not unknown, f"no standard facts: {', '.join(sorted(unknown))}"
        for names in (facts, [info.fact or info.name for info in sampling]):
            twice = {name for name in names if names.count(name) > 1}
            assert not twice, f"several options for {', '.join(sorted(twice))}"

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
            assert addresses, (
                "reaches() returns no address: mark the option with the server's URL with address=True. For an engine that "
                "computes on this machine, declare Capabilities(local=True)"
            )

    async def test_the_probe_is_complete(self, backend: Backend, opening: requests.OpenRequest) -> None:
        """A probe returns facts, or the reason why the backend is not usable and a remedy.

        A probe with an interpreter that does not exist also returns a result.
        """
        for python in (opening.python, "/nowhere/bin/python"):
            probe = await runs.within(self.patience, "the probe", backend.probe(python))
            check_probe(probe)
            if python == opening.python:
                assert probe.usable, f"the suite needs a usable backend: {probe.reason} {probe.remedy}"

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
            runs.check_value(info)
            assert info.model, f"{info!r} has no model to open"
            assert info.name, f"{info!r} has no name"
        if on_disk:
            found = [Path(info.model) for info in models]
            assert any(path.exists() and path.samefile(model) for path in found), f"{model} was not found"

    async def test_its_server_is_described(self, backend: Backend, opening: requests.OpenRequest) -> None:
        """A backend with servers describes the server of the model to open."""
        report = await runs.within(self.patience, "describing the server", backend.endpoint(opening.options))
        if report is not None:
            runs.check_value(report)
            check_probe(report.probe)
            assert report.probe.usable, f"{report.address}: {report.probe.reason} {report.probe.remedy}"

    async def test_memory_is_estimated(self, backend: Backend, opening: requests.OpenRequest) -> None:
        """An estimate lists the memory for each purpose, and fails like opening.

        The parts of a layout have, in total, as many bytes of KV cache and of weights as the devices.
        Backends without estimates raise an error.
        """
        work = runs.within(self.patience, "an estimate", backend.estimate(opening))
        if not backend.capabilities.estimate:
            await runs.refused(work, kind=errors.ParagoneError)
            return
        estimate = await work
        runs.check_value(estimate)
        assert estimate.context > 0, f"a context of {estimate.context} tokens"
        assert estimate.devices, "the estimate has no devices"
        for device in estimate.devices:
            assert device.total is None or device.free is None or device.free <= device.total, f"{device!r}"
        weights = sum(device.weights for device in estimate.devices)
        assert weights > 0, "the weights take no memory"
        if estimate.layers is not None and estimate.gpu_layers is not None:
            assert estimate.gpu_layers <= estimate.layers + 1, f"{estimate!r}"
        for number in (estimate.trained_context, estimate.parameters):
            assert number is None or number > 0, f"{estimate!r}"
        if (layout := estimate.layout) is not None:
            assert layout.parts, "the layout has no parts"
            assert all(part.shared <= part.weights for part in layout.parts), f"{layout!r}"
            cache = sum(part.kv_cache for part in layout.parts)
            planned = sum(device.kv_cache for device in estimate.devices)
            assert cache == pytest.approx(planned, rel=0.01), f"the parts have {cache} bytes of KV cache"
            # A GPU may have a copy of the weights that are also in main memory.
            least = estimate.weights
            most = layout.main_weights + sum(part.weights for part in layout.parts)
            assert 0.99 * least <= weights <= 1.01 * most, f"the parts have {least} bytes of weights"
        options = {**opening.options, "no_such_option": 1}
        for name, wrong in (
            ("no-such-model", dataclasses.replace(opening, model="no-such-model")),
            ("no_such_option", dataclasses.replace(opening, options=options)),
        ):
            work = runs.within(self.patience, "refusing to estimate", backend.estimate(wrong))
            await runs.refused(work, name, kind=errors.InputError)

    async def test_loading_reports_progress(self, opened: runs.Opened, engine: OpenEngine) -> None:
        """The progress of loading, if any, never decreases, and ends at 1."""
        fractions = [progress.fraction for progress in opened[0][1]]
        assert all(0 <= fraction <= 1 for fraction in fractions), (
            f"load progress not from 0 to 1: {fractions}"
        )
        assert fractions == sorted(fractions), f"load progress fell: {fractions}"
        assert not fractions or fractions[-1] == 1, f"load progress ended at {fractions[-1]}"

    async def test_the_loaded_model_is_described(self, backend: Backend, engine: OpenEngine) -> None:
        """The description of the open model has valid types and values.

        If an option sets a fact, the value of the fact is a valid value of the option.
        """
        loaded = engine.loaded
        runs.check_value(loaded)
        assert loaded.name.strip(), "the loaded model has no name"
        assert loaded.context is None or loaded.context > 0
        assert loaded.size is None or loaded.size > 0
        for caution in loaded.cautions:
            assert caution.code, f"{caution!r} has no code"
            assert caution.sentence.strip(), f"{caution!r} has no sentence for the user"
        for name, fact in loaded.facts.items():
            assert isinstance(fact, str), f"the fact {name!r} is not a string: {fact!r}"
        for info in describe(backend.load_options):
            if info.fact in loaded.facts:
                value = parse(backend.load_options, info.name, loaded.facts[info.fact])
                build(backend.load_options, {info.name: value})

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

    async def test_two_engines_are_open_side_by_side(self, subject: runs.Subject) -> None:
        """Two engines answer at the same time, and closing the second does not affect the first."""
        other = await subject.open()
        try:
            request = dataclasses.replace(subject.asked(), threads=1)
            both = asyncio.gather(
                *(runs.events_of(engine.run(request)) for engine in (subject.engine, other))
            )
            for events in await runs.within(2 * self.patience, "two concurrent answers", both):
                runs.check_events(events)
        finally:
            await subject.within("closing", other.close())
        await subject.complete(request)

    async def test_opening_can_be_cancelled(self, subject: runs.Subject) -> None:
        """A cancelled task that opens a model ends soon. The next task can open the model."""

        async def open_and_close() -> None:
            engine = await subject.backend.open(subject.opening, lambda progress: None)
            await engine.close()

        task = asyncio.create_task(open_and_close())
        await asyncio.sleep(0)  # lets the task begin
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await runs.within(self.grace, "giving up", task)
        assert task.cancelled(), "open() did not pass on CancelledError"
        again = dataclasses.replace(subject, engine=await subject.open())
        try:
            await again.still_answers()
        finally:
            await subject.within("closing", again.engine.close())

    async def test_a_closed_engine_cannot_be_used(self, subject: runs.Subject) -> None:
        """An engine can be closed twice, and a closed engine raises errors."""
        engine = await subject.open()
        await subject.within("closing", engine.close())
        await subject.within("closing again", engine.close())
        await subject.within("stopping a closed engine", engine.stop())
        closed = dataclasses.replace(subject, engine=engine)
        for work in (
            closed.run(closed.asked("Hello?")),
            closed.tokenize(requests.TokenizeRequest(text="Hello?")),
        ):
            advice = "once the engine is closed, its methods raise an EngineError"
            await runs.refused(work, kind=errors.ParagoneError, advice=advice)

    async def test_the_last_engine_to_be_closed_unloads_the_model(
        self, opened: runs.Opened, subject: runs.Subject
    ) -> None:
        """Closing one of two engines keeps the model loaded; closing the other engine unloads the model.

        A server with the capability `loads` describes the model as loaded or not. No other program may use the model
        during this test.
        """
        loads = subject.capabilities.loads
        other = await subject.open()
        left = await subject.within("closing", other.close())
        assert left is None, f"closing one of two engines reports {left}"
        if loads:
            assert await is_loaded(subject), (
                "an engine is open, but the server does not report its model as loaded"
            )
        opened.clear()  # the next test opens a new engine
        left = await subject.within("closing", subject.engine.close())
        assert left is None, f"closing the engine that loaded the model reports {left}"
        if loads:
            assert not await is_loaded(subject), "no engine is open, but the model is loaded"

    async def test_texts_are_embedded(self, subject: runs.Subject) -> None:
        """Each text has a vector, which does not depend on the other texts. Backends without embeddings raise an error."""
        if not subject.capabilities.embeddings:
            await runs.refused(embed(subject, texts=TEXTS), kind=errors.ParagoneError)
            return
        vectors = check_vectors(await embed(subject, texts=(*TEXTS, TEXTS[0])), 4)
        assert cosine(vectors[0], vectors[3]) > SAME, "equal texts have different embeddings"
        for at, text in enumerate(TEXTS):
            (alone,) = check_vectors(await embed(subject, texts=(text,)), 1)
            assert cosine(alone, vectors[at]) > SAME, f"the embedding of {text!r} depends on the other texts"
        assert cosine(vectors[0], vectors[1]) < SAME, "different texts have the same embedding"

    async def test_tokens_are_embedded(self, subject: runs.Subject) -> None:
        """Sequences of tokens have vectors like texts, and the engine adds no tokens."""
        able = subject.capabilities
        runs.skip_unless(
            able.embeddings and able.token_ids and able.tokenize,
            "the backend does not embed token ids, or does not tokenize",
        )
        ids = await subject.ids_of(TEXTS[0])
        found = await embed(subject, ids=(ids, ids[:2], ids))
        vectors = check_vectors(found, 3)
        assert cosine(vectors[0], vectors[2]) > SAME, "equal tokens have different embeddings"
        assert cosine(vectors[0], vectors[1]) < SAME, "different tokens have the same embedding"
        assert found.prompt_tokens in (None, 2 * len(ids) + 2), f"{found.prompt_tokens} tokens were counted"

    async def test_embedding_can_be_stopped(self, subject: runs.Subject) -> None:
        """`stop` ends `embed` soon, with an EngineError unless all vectors are complete. The engine is then free."""
        runs.skip_unless(subject.capabilities.embeddings, "the backend does not compute embeddings")
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


def check_probe(probe: Probe) -> None:
    """Check that a probe gives the user enough information to act on."""
    runs.check_value(probe)
    if probe.usable:
        assert probe.facts, (
            "a usable backend reports facts in Probe(facts=…), such as the version of its library"
        )
    else:
        assert probe.reason.strip(), "a backend that is not usable gives a reason"
        assert probe.remedy.strip(), "a backend that is not usable gives a remedy"
    for name, fact in probe.facts.items():
        assert isinstance(fact, str), f"the fact {name!r} is not a string: {fact!r}"


async def is_loaded(subject: runs.Subject) -> bool:
    """Return whether the server describes the model as loaded."""
    model, options = subject.opening.model, subject.opening.options
    report = await subject.within("describing the server", subject.backend.endpoint(options))
    assert report is not None, "a backend that loads models must describe its server"
    for info in report.models:
        if model in (info.model, *info.aliases):
            assert info.is_loaded is not None, "the server does not report whether the model is loaded"
            return info.is_loaded
    pytest.fail(f"the server does not list the model {model!r}")


async def embed(
    subject: runs.Subject, *, texts: tuple[str, ...] = (), ids: tuple[tuple[int, ...], ...] = ()
) -> requests.Embeddings:
    """Return the embeddings of texts, or of sequences of tokens."""
    return await subject.within(
        "embedding", subject.engine.embed(requests.EmbedRequest(texts=texts, ids=ids))
    )


def check_vectors(found: requests.Embeddings, count: int) -> tuple[tuple[float, ...], ...]:
    """Check the embeddings of `count` texts, and return the vectors."""
    runs.check_value(found)
    assert len(found.vectors) == count, f"{len(found.vectors)} embeddings of {count} texts"
    assert len({len(vector) for vector in found.vectors}) == 1, "embeddings differ in length"
    assert all(any(vector) for vector in found.vectors), "an embedding is all zeros"
    assert found.prompt_tokens is None or found.prompt_tokens >= count, (
        f"{found.prompt_tokens} tokens of {count} texts"
    )
    return found.vectors


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors."""
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))
