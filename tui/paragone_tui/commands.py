"""The commands of the main screen. Key bindings, command palette and help all use this list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from textual.binding import Binding

__all__ = ["AT_THE_FOOT", "COMMANDS", "Command", "bindings", "keys_in_force", "readable"]

Group: TypeAlias = Literal["Prompt", "Lane", "Lanes", "Conversation", "Program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command with its keys. `id` is its name under `[keys]` in config.toml."""

    id: str
    keys: str
    """Default keys, separated by commas; only keys that plain terminals and tmux pass on."""
    title: str
    help: str
    group: Group
    hint: str = ""
    """Label in the line of key hints at the bottom; empty if the command is not listed there."""

    @property
    def action(self) -> str:
        """Name of the screen's action, without `action_`."""
        return self.id.replace("-", "_")


COMMANDS: tuple[Command, ...] = (
    Command(id="send", keys="enter", title="Send", group="Prompt", hint="send",
            help="Give the prompt to every lane; one that is busy answers it afterwards."),
    Command(id="send-to-lane", keys="ctrl+s", title="Send to this lane", group="Prompt",
            help="Give the prompt to the current lane alone."),
    Command(id="newline", keys="ctrl+j,shift+enter", title="New line", group="Prompt", hint="new line",
            help="Begin another line in the prompt."),
    Command(id="attach-image", keys="ctrl+g", title="Attach an image", group="Prompt",
            help="Show the lanes an image with the prompt, or take it back."),
    Command(id="recall-earlier", keys="ctrl+up", title="Earlier prompt", group="Prompt",
            help="Bring back an earlier prompt of this conversation."),
    Command(id="recall-later", keys="ctrl+down", title="Later prompt", group="Prompt",
            help="Go on to a later prompt."),
    Command(id="edit-prompt", keys="ctrl+e", title="Edit an earlier prompt", group="Prompt",
            help="Bring back the last prompt of the current lane to change it, then the one before; both stay."),
    Command(id="stop", keys="escape", title="Stop all lanes", group="Lanes", hint="stop",
            help="End every answer; what has come stays."),
    Command(id="stop-lane", keys="f8", title="Stop this lane", group="Lane",
            help="End the answer of the current lane alone."),
    Command(id="regenerate", keys="f5", title="Answer again", group="Lane",
            help="Have the current lane answer the last prompt anew; the history keeps both."),
    Command(id="previous-variant", keys="alt+left", title="Previous variant", group="Lane",
            help="Show the variant before: another answer to the prompt, or the prompt before it was edited."),
    Command(id="next-variant", keys="alt+right", title="Next variant", group="Lane",
            help="Show the next variant of the answer, or of the prompt."),
    Command(id="swap-engine", keys="f4", title="Change engine", group="Lane", hint="engine",
            help="Go on in the current lane with another engine."),
    Command(id="restart-engine", keys="f7", title="Restart engine", group="Lane",
            help="Start an engine that crashed or could not be opened, else the current lane's, anew."),
    Command(id="copy-answer", keys="ctrl+y", title="Copy answer", group="Lane",
            help="Copy the current lane's last answer to the clipboard, through SSH and tmux as well."),
    Command(id="toggle-thinking", keys="f6", title="Fold or show thinking", group="Lanes",
            help="Show what models think before they answer in full, or as one line."),
    Command(id="about-lane", keys="ctrl+l", title="About this lane", group="Lane",
            help="Show what the current lane's engine is, and how it was really opened."),
    Command(id="settings", keys="alt+s", title="Settings", group="Lane",
            help="Change sampling, load options and the system prompt, in this lane or in all."),
    Command(id="zoom", keys="f2", title="Zoom", group="Lane",
            help="Show the current lane alone, or all again."),
    Command(id="add-lane", keys="f3", title="Add lane", group="Lanes", hint="add lane",
            help="Put another engine beside the others; there is room for six."),
    Command(id="close-lane", keys="f9", title="Close lane", group="Lane",
            help="Close the current lane and free its engine."),
    Command(id="next-lane", keys="tab", title="Next lane", group="Lanes", hint="next lane",
            help="Make the lane to the right the current one."),
    Command(id="previous-lane", keys="shift+tab", title="Previous lane", group="Lanes",
            help="Make the lane to the left the current one."),
    Command(id="page-up", keys="pageup", title="Page up", group="Lane",
            help="Scroll the current lane up by a screenful."),
    Command(id="page-down", keys="pagedown", title="Page down", group="Lane",
            help="Scroll the current lane down by a screenful."),
    Command(id="to-start", keys="ctrl+home", title="To the start", group="Lane",
            help="Go to the beginning of the current lane."),
    Command(id="to-end", keys="ctrl+end", title="To the end", group="Lane",
            help="Go to the end of the current lane, and follow it."),
    Command(id="toggle-mode", keys="ctrl+t", title="In parallel or in turn", group="Lanes",
            help="Have the lanes answer all at once, or one after the other for fair timing."),
    Command(id="new-conversation", keys="ctrl+n", title="New conversation", group="Conversation",
            help="Begin anew in the same lanes."),
    Command(id="reopen", keys="ctrl+o", title="Earlier conversations", group="Conversation",
            help="Search and reopen an earlier conversation."),
    Command(id="palette", keys="ctrl+p", title="Commands", group="Program", hint="commands",
            help="Find any command by its name."),
    Command(id="help", keys="f1", title="Help", group="Program", hint="help",
            help="Show the keys in force."),
    Command(id="quit", keys="ctrl+q", title="Quit", group="Program",
            help="Leave; conversations are kept."),
)  # fmt: skip


_FIRST = ("send", "newline", "stop", "help", "palette", "add-lane", "swap-engine", "next-lane")
AT_THE_FOOT = tuple(sorted((it for it in COMMANDS if it.hint), key=lambda it: _FIRST.index(it.id)))
"""The commands in the line of key hints at the bottom, most important first."""


def bindings() -> list[Binding]:
    """Return the screen's key bindings. While the composer has the focus, it handles these keys first."""
    from textual.binding import Binding  # `config check` uses this module without Textual

    return [
        Binding(command.keys, command.action, command.title, id=command.id, show=False)
        for command in COMMANDS
    ]


def keys_in_force(keymap: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the keys of each command by its id; those in `keymap` replace the defaults."""
    return {command.id: tuple(keymap.get(command.id, command.keys).split(",")) for command in COMMANDS}


def readable(keys: Iterable[str]) -> str:
    """Return keys in short notation, separated by spaces: `ctrl+j` as `^j`, `escape` as `esc`."""
    names = {"escape": "esc", "pageup": "pgup", "pagedown": "pgdn"}
    return " ".join(
        "+".join(names.get(part, part) for part in key.split("+")).replace("ctrl+", "^") for key in keys
    )
