"""The themes: what is written can be read, marks change with the theme, and a theme of the user's own is used."""

from dataclasses import replace
from itertools import product

import pytest
from emulator import Watched, settle
from textual.color import Color
from textual.filter import NoColor

from paragone_tui.screens.lanes import status
from paragone_tui.screens.vote import VoteApp
from paragone_tui.terminal.cells import styles_of
from paragone_tui.terminal.themes import themes
from paragone_tui.transcript import Transcript
from paragone_tui.transcript.text import Mark, palette_of
from paragone_workbench.config.read import load
from paragone_workbench.config.settings import ThemeSettings
from paragone_workbench.config.state import State
from paragone_workbench.paths import state_file

TURN = object()
NEEDED = {"dark": 4.5, "light": 4.5, "contrast": 7.0}


def luminance(color):
    """As in WCAG 2.2, "relative luminance"."""
    parts = (part / 255 for part in color.get_truecolor()[:3])
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    light, dark = sorted(map(luminance, (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


async def test_all_text_is_readable_and_marks_change_with_the_theme():
    lane, line = Transcript(), status.LaneStatus()
    app = Watched(line, lane)
    for theme in themes({}):
        app.register_theme(theme)
    async with app.run_test(size=(60, 20)) as pilot:
        await settle(pilot)
        lane.add("prompt", "Q", turn=TURN)
        lane.write("One two three.\n\n```python\ndef f(): return 'x'  # why\n```\n")
        lane.mark(TURN, "answer", ((Mark(4, 7, "differs"),), (Mark(8, 13, "heat-unlikely"),)))
        for (name, needed), ended in product(NEEDED.items(), (False, True)):
            if ended:
                lane.end()
            app.theme = name
            await settle(pilot)
            for look, style in {**palette_of(lane), **styles_of(line, status._LOOKS)}.items():
                grounds = [style.bgcolor or lane.rich_style.bgcolor]
                for ground in grounds:
                    assert contrast(style.color or lane.rich_style.color, ground) >= needed, (name, look)
            cells = [cell for row in app.terminal.cells for cell in row if cell.data.strip()]
            colours = {
                (Color.parse(f"#{cell.fg}").rich_color, Color.parse(f"#{cell.bg}").rich_color)
                for cell in cells
            }
            assert len(colours) >= 5
            assert all(contrast(*pair) >= needed for pair in colours)


@pytest.mark.parametrize("name", NEEDED)
def test_lists_dialogs_and_fields_are_readable(name):
    theme = next(theme for theme in themes({}) if theme.name == name)
    colors = {**theme.to_color_system().generate(), **theme.variables}
    pairs = [
        *product(
            ("foreground", "text-muted", "text-warning", "text-error", "primary"), ("background", "surface")
        ),
        ("block-cursor-foreground", "block-cursor-background"),
        *product(("foreground", "text-muted"), ("block-cursor-blurred-background", "surface-lighten-1")),
        ("input-cursor-foreground", "input-cursor-background"),
    ]
    for text, ground in pairs:
        shown = [Color.parse(colors[part]).rich_color for part in (text, ground)]
        assert contrast(*shown) >= NEEDED[name], (text, ground)
    line = contrast(
        Color.parse(colors["surface-lighten-2"]).rich_color, Color.parse(colors["background"]).rich_color
    )
    assert line >= 1.5


def test_a_theme_of_the_user_is_used(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[ui]\ntheme = "mine"\n[themes.mine]\nbase = "light"\naccent = "#123456"\n')
    config = load(path)
    assert config.themes == {"mine": ThemeSettings(base="light", accent="#123456")}
    mine = list(themes(config.themes))[-1]
    light = next(theme for theme in themes({}) if theme.name == "light")
    assert (mine.name, mine.primary) == ("mine", "#123456")
    assert (mine.background, mine.dark) == (light.background, False)


@pytest.mark.parametrize(
    ("variables", "chosen", "theme", "colourless"),
    [
        ({"TERM": "xterm-256color"}, "light", "light", False),
        ({"TERM": "xterm-256color"}, "no such", "dark", False),
        ({"TERM": "linux"}, None, "ansi", False),
        ({"NO_COLOR": "1"}, "light", "ansi", True),
    ],
)
def test_the_last_chosen_theme_is_used_at_the_start(monkeypatch, variables, chosen, theme, colourless):
    monkeypatch.delenv("COLORTERM", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    state = State(state_file())
    config = load()
    app = VoteApp(config=replace(config, ui=replace(config.ui, theme=chosen)), state=state, experiment_id=1)
    assert app.theme == theme
    assert any(isinstance(line_filter, NoColor) for line_filter in app._filters) is colourless
