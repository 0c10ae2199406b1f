"""The page of all settings of config.toml, from the declarations of the settings and of the backends' options."""

import json
from collections.abc import Iterator
from importlib.metadata import entry_points

from paragone import Json, Options
from paragone.discovery import discover
from paragone.hooks import ENTRY_POINTS
from paragone.options import describe
from paragone.texts import DISTRIBUTION
from paragone_workbench.config.read import SECTIONS, EngineTable
from paragone_workbench.config.settings import ThemeSettings

HEAD = """# All settings

`make reference` writes this page from the declarations of the settings. They are in config.toml, whose path
`paragone config path` prints; `paragone config init` creates [one with comments](../config.toml), and
`paragone config check` lists the problems in it. All settings are optional."""

THEME = """
## `[themes.NAME]`

One table for each theme of your own, under a name of your choice, which `theme` under `[ui]` and the command palette take.
"""

OTHERS = """
## `[presets.NAME]`

One table for each preset, under a name of your choice: `system`, a system prompt, and sampling options of engines, which follow.
`--preset NAME` and the settings form apply the preset.

## `[templates]`

Each setting is the name of a template, with the text of a prompt; `{{ name }}` stands for a variable.

## `[keys]`

Each setting is the name of a command on [the page of keys](keys.md), with its keys, separated by commas:
`stop = "ctrl+c,f10"`."""

ENGINE = """
## `[engines.NAME]`

One table for each engine, under a name of your choice. All options of the engine's backend, which follow, can stand in it too;
`paragone engines options BACKEND` prints them, and the options of other plugins.
"""


def page() -> str:
    """Return the page."""
    return (
        "\n".join(
            [
                HEAD,
                *_sections(),
                THEME,
                *_table(ThemeSettings),
                OTHERS,
                ENGINE,
                *_table(EngineTable),
                *_backends(),
            ]
        )
        + "\n"
    )


def _sections() -> Iterator[str]:
    for name, kind in SECTIONS.items():
        yield f"\n## `[{name}]`\n"
        yield from _table(kind)


def _backends() -> Iterator[str]:
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        if point.dist is None or point.dist.name != DISTRIBUTION:
            continue
        for backend in discover(point.name).backends.values():
            for when, kind in (
                ("take effect when a model is opened", backend.load_options),
                ("take effect with the next prompt", backend.sampling),
            ):
                if describe(kind):
                    yield f"\n### {backend.title} (`{backend.name}`): options that {when}\n"
                    yield from _table(kind)


def _table(kind: type[Options]) -> Iterator[str]:
    yield "| setting | value | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for info in describe(kind):
        yield f"| `{info.name}` | {_cell(info.accepted)} | {_default(info.default)} | {_cell(info.doc)} |"


def _default(value: Json) -> str:
    empty = value is None or value in ("", [], {})
    return "" if empty else f"`{json.dumps(value, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
