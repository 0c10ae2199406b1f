"""Conversations that are longer than the context of a real engine: which prompts are refused, which messages dropped, with a warning and in a replay."""

import asyncio
import dataclasses

import pytest
from tests.workbench.conftest import Backends
from tests.workbench.history_file import open_history
from tests.workbench.lane_helpers import opened

from paragone import InputError, Json, Message
from paragone_workbench.config.read import load
from paragone_workbench.conversation.tree import AttachedFile
from paragone_workbench.engines.definitions import ContextOptions, EngineDefinition, load_and_sampling_options
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.recorded_runs import recorded_runs
from paragone_workbench.experiments.replay import Replay
from paragone_workbench.experiments.replay_engines import engines_to_replay
from paragone_workbench.lanes.forecast import forecasts
from paragone_workbench.lanes.session import Session
from paragone_workbench.lanes.settings import lane_settings
from paragone_workbench.runs.context import fit, without_oldest

SYSTEM = Message(role="system", text="s")
TALK = [Message(role=role, text=f"{role} {number}") for number in range(5) for role in ("user", "assistant")]
ASKED = [SYSTEM, *TALK, Message(role="user", text="now")]


async def in_words(messages):
    """Count ten tokens for each message."""
    return 10 * len(messages)


@pytest.mark.parametrize(
    ("options", "context", "max_tokens", "left_out"),
    [
        ({"overflow": "drop_oldest"}, 200, None, 0),
        ({"overflow": "drop_oldest"}, 120, None, 4),  # a quarter is for the answer
        ({"overflow": "drop_oldest"}, 16, None, 10),  # the question itself is too long, and refused
        ({"overflow": "keep_last", "keep_turns": 1}, 120, None, 8),
        ({"overflow": "keep_last", "keep_turns": 0}, 120, None, 10),
        ({"overflow": "keep_last", "keep_turns": 9}, 120, None, 0),
    ],
)
async def test_the_oldest_turns_are_dropped_until_the_prompt_fits(options, context, max_tokens, left_out):
    fitted = await fit(ASKED, ContextOptions(**options), context, max_tokens, in_words)
    assert fitted.left_out == left_out
    assert fitted.messages == (SYSTEM, *ASKED[1 + left_out :])
    assert fitted.tokens == 10 * len(fitted.messages)
    assert without_oldest(ASKED, left_out).messages == fitted.messages


async def test_all_turns_are_kept_for_an_engine_that_cannot_count():
    async def unknown(messages):
        return None

    fitted = await fit(ASKED, ContextOptions(overflow="drop_oldest"), 16, None, unknown)
    assert (fitted.left_out, fitted.messages) == (0, tuple(ASKED))


def test_the_policy_is_an_option_of_every_engine(paper):
    options: dict[str, Json] = {"overflow": "keep_last", "n_ctx": 8}
    definition = EngineDefinition(name="a", backend="paper", model="m", options=options)
    assert load_and_sampling_options(definition, paper) == ({"n_ctx": 8}, {"overflow": "keep_last"})
    settings = lane_settings(definition, paper, [("config.toml", definition)])
    found = {setting.info.name: setting for setting in settings}
    assert (found["overflow"].value, found["overflow"].origin, found["overflow"].reloads) == (
        "keep_last",
        "config.toml",
        False,
    )
    handle = EngineTask(definition, Backends(paper))
    assert handle.configure(dataclasses.replace(definition, options={**options, "temperature": 1}))
    assert (handle.context_options, handle.sampling) == (
        ContextOptions(overflow="keep_last"),
        {"temperature": 1},
    )
    assert found["keep_turns"].info.default == 4
    with pytest.raises(InputError, match="overflow"):
        load_and_sampling_options(dataclasses.replace(definition, options={"overflow": "often"}), paper)


@pytest.mark.model
async def test_a_real_engine_with_a_small_context_gets_a_shortened_conversation(home, smollm2):
    """Dropped messages are announced before sending, and dropped again by a replay."""
    history = await open_history()
    session = Session(Registry(), system="Be brief.")
    session.recorder.open(history)
    options: dict[str, Json] = {
        "n_ctx": 256,
        "n_threads": 1,
        "max_tokens": 8,
        "temperature": 0,
        "overflow": "drop_oldest",
    }
    (lane,) = await opened(
        session, EngineDefinition(name="small", backend="llama_cpp", model=str(smollm2), options=options)
    )
    foretold = []
    for number in range(4):
        text = f"Number {number}: what is the colour of " + "the sea and " * 18
        (forecast,) = await forecasts(session, text)
        foretold.append(forecast)
        session.send(text)
        await session.answered()
    runs = [run.result for run in lane.path]
    assert [run.state for run in runs] == ["done"] * 4
    assert [forecast.tokens for forecast in foretold] == [run.metrics.prompt_tokens for run in runs]
    added = foretold[1].tokens - runs[0].metrics.prompt_tokens - runs[0].metrics.completion_tokens
    assert [forecast.added for forecast in foretold] == [None, added, None, None]
    left_out = [int(str(run.request["left_out"])) for run in runs]
    assert left_out == [forecast.left_out for forecast in foretold] == [0, 0, 2, 4]
    assert foretold[-1].warning == "small will drop the oldest 4 messages"
    assert [[caution.code for caution in run.cautions] for run in runs][1:3] == [[], ["turns-dropped"]]
    assert runs[-1].request["sampling"] == {"max_tokens": 8, "temperature": 0}

    (long,) = await forecasts(session, "Sum up", files=[AttachedFile.of("a", 1, "word " * 300)])
    assert long.is_refused
    assert long.warning == f"small will refuse: {long.tokens} tokens, its context holds 256"
    counting = asyncio.create_task(forecasts(session, "word " * 40_000))
    await asyncio.sleep(0.02)
    for _ in range(2):  # the user types on, then leaves
        counting.cancel()
        await asyncio.sleep(0)
    await session.configure(
        lane,
        EngineDefinition(
            name="small",
            backend="llama_cpp",
            model=str(smollm2),
            options={**options, "overflow": "keep_last", "keep_turns": 0},
        ),
    )
    (kept,) = await forecasts(session, "And now?")
    assert (kept.left_out, lane.engine.is_open) == (8, True)
    await session.saved()
    number = session.conversation.number
    await session.close()

    recorded = (await recorded_runs(history, f"c{number}"))[-1:]
    engines = await engines_to_replay(recorded, load(None), Registry(), history)
    replay = Replay(engines, Registry(), history)
    (again,) = [run async for run in replay.runs()]
    assert "messages" not in {change.what for change in replay.engines[0].changes}
    assert again.error is None
    await replay.close()
    await history.close()
