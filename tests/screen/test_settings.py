"""The settings form: the values that it shows, and the effect of changes."""

import gc
import weakref

from rogue_backend.definitions import rogue
from textual.widget import Widget

from paragone_tui.screens.settings import SettingsForm
from paragone_tui.widgets.fields import TextField
from paragone_workbench.config.settings import Preset
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import state_file


async def form(screen) -> SettingsForm:
    await screen.press("alt+o")
    await screen.until(lambda: isinstance(screen.app.screen, SettingsForm), "the form opens")
    shown = screen.app.screen
    assert isinstance(shown, SettingsForm)
    return shown


async def fill(screen, name: str, text: str) -> None:
    """Move to a field, and type into it."""
    (field,) = [it for it in screen.app.screen._option_fields if it.setting.info.name == name]
    field.input.focus()
    await screen.pilot.pause()
    assert field.input.has_focus
    await screen.type(text)


async def test_the_most_used_options_are_visible_at_80_by_24(start):
    engine = EngineDefinition(name="m", backend="llama_cpp", model="missing.gguf")
    settings = "[presets.brief]\nmax_tokens = 2\n"
    async with start(engine, size=(80, 24), settings=settings) as screen:
        shown = await form(screen)
        for row in ("use a preset", "save as a preset", "system prompt", "temperature", "max_tokens", "stop"):
            assert f" {row} " in screen.text
        assert shown.focused is shown._option_fields[0].input
        assert "Sampling temperature" in screen.text, "what the field is"
        assert "esc cancel" in screen.text


async def test_a_load_option_changes_in_all_lanes_with_a_reload(start):
    served = EngineDefinition(
        name="served", backend="openai", model="m", options={"url": "http://127.0.0.1:9"}
    )
    async with start(
        rogue("steady", "first", max_tokens=2), rogue("wide", "second"), served, size=(120, 30)
    ) as screen:
        assert "max_tokens=2" in screen.text
        assert "defaults" in screen.text
        shown = await form(screen)
        before = screen.text
        await screen.press("ctrl+t")
        assert "Settings of all lanes" in screen.text
        (row,) = (row for row in screen.text.splitlines() if "max_tokens" in row)
        assert "2 in first, the default in second" in row
        assert "differs" in row
        await screen.press("ctrl+t")
        assert screen.text == before
        await screen.press("ctrl+t", "slash", *"context window")
        assert "max_tokens" not in screen.text
        await screen.press("enter", *"512")
        (context,) = (it for it in shown._option_fields if it.setting.info.name == "context")
        assert context.input.has_focus
        assert "reload the model" in screen.text
        await screen.press("enter")
        first, second, _ = screen.lanes
        await screen.until(lambda: "served has no option context." in screen.told)
        await screen.until(
            lambda: all(it.engine.definition.options.get("context") == 512 for it in (first, second))
        )
        await screen.until(lambda: first.engine.is_open and second.engine.is_open, "engines are open again")


async def test_a_reload_waits_until_the_lane_has_answered(start):
    async with start(rogue("steady", "first", rate=5, max_tokens=1000)) as screen:
        await screen.ask("go")
        await screen.until(lambda: screen.lanes[0].state == "writing")
        shown = await form(screen)
        await fill(screen, "context", "512")
        await screen.press("enter")
        assert screen.app.screen is shown
        assert "still answering" in screen.text
        await screen.press("escape")


async def test_changed_settings_apply_from_the_next_answer_with_a_note(start):
    async with start(rogue("steady", "first", max_tokens=2), size=(80, 60)) as screen:
        for _ in range(3):
            await screen.ask("go")
            await screen.answered()
        shown = await form(screen)
        assert "Settings of first" in screen.text
        assert "empty = default" in screen.text
        (there,) = [at for at, it in enumerate(shown._option_fields) if it.setting.info.name == "max_tokens"]
        await screen.press(*["down"] * there)  # as a person moves there
        field = shown._option_fields[there]
        assert field.input.has_focus
        assert "In the last run: 2." in field.description
        await screen.press("backspace")
        assert field.input.placeholder == str(field.setting.info.default)
        await screen.type("1")
        shown.system.focus()
        await screen.type("Be brief.")
        await screen.press("ctrl+j")
        await screen.type("Be kind.")
        widgets: list[Widget] = [shown, *shown.query(TextField)]
        freed: list[weakref.ref[object]] = [weakref.ref(widget) for widget in widgets]
        freed += [weakref.ref(widget._styles_cache) for widget in widgets]
        del shown, field, widgets
        await screen.press("enter")
        transcript = screen.columns[0].transcript
        await screen.until(lambda: "with max_tokens=2" in transcript.text)
        counts = transcript.text.count("with max_tokens=2"), transcript.text.count("with other settings")
        assert counts == (1, 2), "the last of several answers names them"
        await screen.ask("again")
        await screen.answered()
        assert screen.lanes[0].last_answer == "word0 "
        systems = [prompt.system for prompt in screen.app.lanes.session.prompts]
        assert systems == [None, None, None, "Be brief.\nBe kind."]
        assert "System prompt from here on: Be brief." in screen.text
        assert "system: Be brief. Be kind." in screen.text.splitlines()[1], "the active settings are visible"
        assert "From here on: max_tokens=1" in transcript.text
        screen.columns[0]._shown_as = None
        screen.columns[0].show_state()
        assert "From here on: max_tokens=1" in transcript.text
        assert transcript.text.count("with max_tokens=2") == 1, "the earlier answer's own"

        def is_free() -> bool:
            gc.collect()
            return all(one() is None for one in freed)

        await screen.until(is_free, "the form is freed")
        await screen.app.lanes.session.swap(screen.lanes[0], rogue("steady", "second"))
        shown = await form(screen)
        assert not any("In the last run" in it.description for it in shown._option_fields)


async def test_the_form_shows_origins_checks_values_moves_between_fields_and_saves_an_engine(start):
    settings = "[engines.mine]\nbackend = 'rogue'\nmodel = 'steady'\nmax_tokens = 3\n"
    given = rogue("steady", "mine", max_tokens=3, rate=500)
    async with start(given, settings=settings) as screen:
        shown = await form(screen)

        def line(name: str) -> str:
            return next(row for row in screen.text.splitlines() if f" {name} " in row)

        assert "• max_tokens" in line("max_tokens")
        assert "config.toml" in line("max_tokens")
        assert "command line" in line("rate")
        assert "•" not in line("prefill_s")
        await fill(screen, "max_tokens", "0.2")
        assert "edited" in line("max_tokens")
        await screen.press("enter")
        assert screen.app.screen is shown
        assert "cannot be 0.2" in screen.text
        await screen.press("escape", "escape")
        assert screen.app.screen is screen.app.lanes
        assert screen.lanes[0].engine.definition == given
        shown = await form(screen)
        first = shown.focused
        await screen.press("up")
        assert shown.system.has_focus
        await screen.type("Be brief.")
        await screen.press("ctrl+j", "up", "down")
        assert shown.system.has_focus
        await screen.press("down")
        assert shown.focused is first
        await screen.press("up", "up", "up", "shift+tab")
        assert shown.save_preset.has_focus, "the first field is the end"
        shown.save_as.focus()
        await screen.press("down", "tab")
        assert shown.save_as.has_focus, "and the last one is"
        await screen.press("escape")
        assert "Your changes are not applied" in screen.text
        await screen.press("x", "escape")
        assert screen.app.screen is shown
        await screen.press("escape")
        assert screen.app.screen is screen.app.lanes
        shown = await form(screen)
        await fill(screen, "max_tokens", "2")
        shown.save_as.focus()
        await screen.type("brief")
        await screen.press("enter")
        await screen.until(lambda: screen.lanes[0].name == "brief")
        assert screen.app.engines.config.engines["brief"].options == {"max_tokens": 2, "rate": 500}
        assert State(state_file()).saved.lanes == ("brief",)
        await form(screen)
        assert "saved" in line("max_tokens")
        await fill(screen, "max_tokens", "4")
        await screen.press("enter")
        await screen.until(lambda: screen.app.screen is screen.app.lanes)
        await form(screen)
        assert "here" in line("max_tokens")


async def test_each_field_is_explained_and_presets_are_picked_applied_saved_and_removed(start):
    settings = """
[presets.brief]
system = "Be brief."
max_tokens = 2
[presets.terse]
max_tokens = 1
system = "Be terse."
[presets.odd]
top_q = 1
rate = 300
"""
    async with start(rogue("steady", "first"), size=(80, 24), settings=settings) as screen:
        shown = await form(screen)
        for field in screen.app.screen.query("SettingField, SystemField, .row > Input"):
            (field if field.can_focus else field.query_one("Input")).focus()
            await screen.pilot.pause()
            description = " ".join(str(shown.description.content).split())
            seen = " ".join(screen.text.replace("│", " ").split())
            assert description
            assert description in seen
        shown.preset.focus()
        await screen.type("brieff")
        await screen.press("enter")
        assert "There is no preset 'brieff'. Did you mean 'brief'?" in screen.text
        await screen.press("backspace", "down")
        await screen.until(lambda: shown.system.text == "Be brief.")
        shown.save_preset.focus()
        await screen.type("mine")
        await screen.press("enter")
        await screen.ask("go")
        await screen.answered()
        assert screen.lanes[0].last_answer == "word0 word1 "
        assert screen.app.lanes.session.prompts[0].system == "Be brief."
        saved = Preset(name="mine", system="Be brief.", sampling={"max_tokens": 2})
        assert State(state_file()).saved.presets == {"mine": saved}
        shown = await form(screen)
        await screen.press("up", "up", "up", "enter")
        await screen.until(lambda: "brief  max_tokens=2" in screen.text)
        assert "terse  max_tokens=1 · Be terse." in screen.text
        await screen.type("ters")
        await screen.press("enter")
        await screen.until(lambda: screen.app.screen is shown)
        assert (shown.preset.value, shown.system.text) == ("terse", "Be terse.")
        await screen.press("ctrl+u")
        await screen.type("odd")
        await screen.press("enter")
        assert "This engine has no sampling option top_q." in screen.text
        await screen.press("enter")  # the other options are applied
        options = {"max_tokens": 1, "rate": 300}
        await screen.until(lambda: screen.lanes[0].engine.definition.options == options)
        shown = await form(screen)
        shown.preset.focus()
        await screen.press("enter")
        await screen.until(lambda: "terse  max_tokens=1" in screen.text)
        await screen.press("ctrl+x")
        assert "No preset 'brief' was saved here." in screen.text
        await screen.type("mine")
        await screen.press("ctrl+x")
        assert "The preset mine is removed." in screen.text
        assert list(screen.app.engines.config.presets) == ["brief", "terse", "odd"]
        assert State(state_file()).saved.presets == {}


async def test_secrets_are_hidden_and_the_focused_field_is_visible_in_small_terminals(start):
    options = {"headers": ["Authorization: sk-secret"], "url": "http://127.0.0.1:9/v1"}
    served = EngineDefinition(name="served", backend="openai", model="m", options=options)
    async with start(served, size=(100, 60)) as screen:
        await form(screen)
        assert "set; not shown" in screen.text
        assert "sk-secret" not in screen.text
        await fill(screen, "headers", "another")
        assert "another" not in screen.text
        await screen.press("escape")
        assert screen.lanes[0].engine.definition == served
        await screen.press("escape")
        await screen.pilot.resize_terminal(20, 5)
        await form(screen)
        for text in ("7", "8"):
            await screen.until(lambda: screen.app.screen.focused.region.bottom < 5)
            await screen.type(text)
            assert f"{text} " in screen.text
            await screen.press("down")
