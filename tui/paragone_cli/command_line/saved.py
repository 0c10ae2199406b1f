"""The history for commands, which read ids of its records and save measurements, and the judges that a suite names."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from paragone import InputError, Json, ParagoneError
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.output import warn
from paragone_workbench.consent import engine_actions
from paragone_workbench.engines.definitions import EngineDefinition, to_spec
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import assertions, identity
from paragone_workbench.experiments.suite import Suite
from paragone_workbench.ids import parse_id
from paragone_workbench.store.saving import History
from paragone_workbench.store.store import Store
from paragone_workbench.store.votes import MeasurementKind


def consented_judges(
    context: CommandContext,
    path: Path,
    suite: Suite,
    engines: Sequence[EngineDefinition],
    catalog: assertions.AssertionCatalog,
) -> tuple[Mapping[str, EngineDefinition], frozenset[str]]:
    """Return the definitions of the judges of a suite by name, and the names of the judges that only the suite names.

    `path` is the suite's file; `engines` are the engines that the suite runs on. Raises InputError, for example if the user
    does not consent.
    """
    known = {engine.name: engine for engine in engines}
    judges = {
        name: known.get(name) or context.engines([name], [])[0] for name in catalog.judges(suite.prompts)
    }
    registry, folders = context.registry, context.config.models.folders
    own = {
        to_spec(engine, registry.find(engine.backend))
        for engine in (*engines, *context.config.engines.values())
    }
    foreign = [
        name for name, judge in judges.items() if to_spec(judge, registry.find(judge.backend)) not in own
    ]
    actions = [
        f"the judge {name} gets prompts and answers, and {action}"
        for name in sorted(foreign)
        for action in engine_actions(judges[name], registry.get(judges[name].backend), path, folders)
    ]
    actions += catalog.actions(suite.prompts)
    context.consent(path).require(actions)
    return judges, frozenset(foreign)


def open_store(*, reads_damaged: bool = False) -> Store:
    """Open the history, and print its warning. Raises ParagoneError."""
    store = Store.open(reads_damaged=reads_damaged)
    if store.warning:
        warn(store.warning)
    return store


def opened_store(*, reads_damaged: bool = False) -> contextlib.closing[Store]:
    """Open the history until the end of the block, and print its warning. Raises ParagoneError."""
    return contextlib.closing(open_store(reads_damaged=reads_damaged))


@contextlib.asynccontextmanager
async def opened_history() -> AsyncIterator[History]:
    """Open the history for the event loop, with its warning printed, until the end of the block. Raises ParagoneError."""
    history = await History.open()
    try:
        if history.warning:
            warn(history.warning)
        yield history
    finally:
        await history.close()


def save_measurement(
    kind: MeasurementKind, engines: Sequence[EngineDefinition], data: Mapping[str, Json], registry: Registry
) -> None:
    try:
        with opened_store() as store:
            store.measurements.add(identity.measurement_of(kind, engines, data, registry))
    except ParagoneError as error:
        warn(f"The measurement is not saved for reports. {error}")


def experiment_id(text: str | None) -> int:
    """Return the number in the id of an experiment, such as `e3`. Raises InputError, which names the newest ones."""
    if text is None:
        raise InputError("No experiment was named.", hint=newest_experiments())
    found = parse_id(text)
    if found is None or found.kind != "e" or found.run is not None:
        raise InputError(
            f"{text!r} is not the id of an experiment.",
            hint=f"The id of an experiment is an e and a number, such as e3. {newest_experiments()}",
        )
    return found.number


def conversation_id(text: str) -> int:
    """Return the number in the id of a conversation, such as `c7`. Raises InputError."""
    found = parse_id(text)
    if found is None or found.kind != "c":
        hint = "Write c7, for example. `paragone history` lists the conversations, `paragone suite list` the experiments."
        if found is not None and found.kind == "e":
            hint = f"`paragone suite show e{found.number}` shows an experiment."
        raise InputError(f"{text!r} is not the id of a conversation.", hint=hint)
    return found.number


def newest_experiments() -> str:
    try:
        with contextlib.closing(Store.open()) as store:
            return store.experiments.newest()
    except ParagoneError:
        return "`paragone suite list` lists the experiments."
