"""The list of the commands of the screens."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

Do: TypeAlias = Callable[[Callable[[], Coroutine[None, None, None]]], None]
"""Runs a coroutine function in the background; later keys wait for it. The application shows a ParagoneError."""


CommandGroup: TypeAlias = Literal["Prompt", "Lane", "Lanes", "Conversation", "Program", "Lane mode"]
GROUPS: tuple[CommandGroup, ...] = get_args(CommandGroup)
"""The groups in the order of the help. Commands of `Lane mode` have keys only in that mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenCommand:
    """A command with its keys. `id` is the command's name under `[keys]` in config.toml.

    Default keys are separated by commas. Use only keys that plain terminals and tmux pass on. A command whose only
    other key is a function key, or a key that some terminals do not send, has a key in lane mode too.
    """

    id: str
    keys: str = ""
    """Keys in both modes: while the user writes a prompt, and in lane mode. Alt with a character belongs to `lane_keys`."""
    lane_keys: str = ""
    """Keys only in lane mode, before the `keys` of other commands. With Alt, they work while the user writes too."""
    title: str
    help: str
    group: CommandGroup

    @property
    def action(self) -> str:
        program = f"app.{self.id.replace('-', '_')}"
        return program if self.group == "Program" else f"screen.command('{self.id}')"


_TABLE: Mapping[CommandGroup, Sequence[tuple[str, str, str, str, str]]] = {
    "Prompt": [
        ("send", "enter", "", "Send", "Send the prompt to all lanes. A busy lane queues it."),
        ("send-to-lane", "ctrl+s", "", "Send to this lane", "Send the prompt only to the current lane."),
        ("newline", "ctrl+j,shift+enter", "", "New line", "Insert a line break into the prompt."),
        ("lane-mode", "escape,ctrl+f", "", "Lane mode", "Go to the current lane, where single letters are commands."),
        ("editor", "ctrl+g", "", "Write in your editor", "Edit the prompt in the program that VISUAL or EDITOR names."),
        ("attach-file", "", "@", "Attach a file", "Attach a text, a PDF or an image: type @ and its path."),
        ("recall-earlier", "up,ctrl+up", "", "Earlier prompt",
         "Recall the previous prompt; up works only in an empty or a recalled prompt."),
        ("recall-later", "down,ctrl+down", "", "Later prompt",
         "Recall the next prompt; after the last prompt comes your unsent text."),
        ("search-prompts", "ctrl+r", "", "Search earlier prompts",
         "Find an earlier prompt in all conversations, and write it again."),
        ("word-back", "", "b", "Word back", "Move a word back in the prompt; with alt while you write."),
        ("word-forward", "", "f", "Word forward", "Move a word forward in the prompt; with alt while you write."),
        ("delete-word-back", "", "backspace", "Delete a word back",
         "Delete the word before the cursor in the prompt; with alt while you write."),
        ("delete-word", "", "d", "Delete a word", "Delete the next word of the prompt; with alt while you write."),
        ("edit-prompt", "", "C", "Edit an earlier prompt",
         "Edit the last prompt of the current lane, or the selected prompt; press again for the previous prompt. The old prompt is kept."),
        ("queue", "", "Q", "Prompts that wait",
         "Edit, remove or resend a prompt that waits for a lane or was kept by a stop."),
    ],
    "Lane": [
        ("stop-lane", "f8", "s", "Stop this lane",
         "Stop the current lane's answers, and keep their text. If the lane is not answering, stop loading its engine."),
        ("regenerate", "f5", "r", "Regenerate",
         "Answer the last or the selected prompt again in the current lane. All answers are kept as variants."),
        ("continue-answer", "", "m", "Continue the answer",
         "Continue an answer that was cut, stopped or interrupted. The earlier answer is kept."),
        ("previous-variant", "alt+left", "[", "Previous variant",
         "Show the previous variant of the answer or of the edited prompt. If the prompt has text, alt+left moves a word back."),
        ("next-variant", "alt+right", "]", "Next variant",
         "Show the next variant of the answer or of the edited prompt. If the prompt has text, alt+right moves a word forward."),
        ("previous-turn", "alt+up", "K", "Select the previous turn",
         "Select an earlier turn: variants, regenerating, copying and editing then apply to this turn."),
        ("next-turn", "alt+down", "J", "Select the next turn",
         "Select the next turn; after the last turn, none is selected, and commands apply to the last turn."),
        ("fork-lane", "", "F", "Fork into a new lane",
         "Add a lane with the same engine and the conversation up to the selected turn."),
        ("tree", "", "T", "Turns and branches", "Show all turns of the current lane with their branches; go to one of them."),
        ("swap-engine", "f4", "e", "Change engine", "Continue in the current lane with another engine."),
        ("restart-engine", "f7", "R", "Restart engine",
         "Restart an engine that failed or crashed; if all engines run, restart the current lane's engine."),
        ("copy-answer", "", "y", "Copy answer",
         "Copy the selected turn's answer, or the last answer, to the clipboard; works over SSH and in tmux."),
        ("copy", "", "Y", "Copy …",
         "Copy a block of code, the answer, the turn of all lanes or the conversation, to the clipboard or a file."),
        ("about-lane", "ctrl+l", "", "About this lane", "Show the current lane's engine, and how its model was opened."),
        ("costs", "", "$", "What this lane cost",
         "Show the tokens and time of the current lane's answers, and what providers would charge."),
        ("settings", "", "o", "Settings",
         "Change sampling options, load options and the system prompt, in this lane or in all."),
        ("reference-lane", "", "=", "Compare with this lane",
         "Make the current lane the reference, with which the other lanes are compared. The reference lane has a ◆."),
        ("divergence", "", "v", "Where the answers diverge",
         "Show the first token that differs between the answers, and its alternatives in each lane."),
        ("toggle-heat", "", "p", "Probabilities of tokens",
         "Turn the colouring of the current lane's tokens by their probabilities on or off."),
        ("zoom", "f2", "z", "Zoom", "Show only the current lane, or all lanes again."),
        ("close-lane", "f9", "X", "Close lane", "Close the current lane and free the memory of its engine."),
        ("page-up", "pageup", "", "Page up", "Scroll the current lane up by a page."),
        ("page-down", "pagedown", "space", "Page down", "Scroll the current lane down by a page."),
        ("to-start", "ctrl+home", "g,home", "To the start", "Scroll the current lane to the start."),
        ("to-end", "ctrl+end", "G,end", "To the end", "Scroll the current lane to the end, and follow new text."),
    ],
    "Lanes": [
        ("stop", "ctrl+c", "", "Stop all lanes",
         "Stop all answers, and keep their text and the prompts that wait. If no lane is answering, stop loading models, or cancel editing a prompt."),
        ("next-lane", "tab", "l,right", "Next lane",
         "Select the lane to the right; while you write, the first lane follows the last lane."),
        ("previous-lane", "shift+tab", "h,left", "Previous lane",
         "Select the lane to the left; while you write, the last lane follows the first lane."),
        ("add-lane", "f3", "a", "Add lane", "Add a lane with another engine, up to six lanes."),
        ("toggle-thinking", "f6", "t", "Show or fold thinking", "Show the models' thinking in full, or as one line."),
        ("toggle-logs", "", "E", "Show or fold long texts",
         "Show long prompts, pasted texts, attached files, and the logs of crashed engines, in full or folded."),
        ("toggle-differences", "", "D", "Mark differences",
         "Turn the underlining of words that differ from the reference lane's words on or off."),
        ("toggle-link", "", "L", "Link or unlink lanes",
         "Align the turns of the lanes and scroll them together, or let each lane scroll alone."),
        ("toggle-mode", "ctrl+t", "", "In parallel or in turn",
         "Let the lanes answer concurrently, or one after the other for fair timing."),
        ("parity", "", "c", "Was it fair?", "Show which conditions differed between the lanes, and level them."),
        ("fidelity", "", "V", "Distance from the reference",
         "Measure over a text how far the other lanes' models are from the model of the lane with ◆; esc stops."),
        ("worst-places", "", "W", "Where a suite shows most loss",
         "Show the tokens of a suite's answers at which the current lane's model was furthest from the reference, as `paragone fidelity --suite` measured."),
        ("blind-vote", "", "u", "Vote blind",
         "Show the next answers shuffled and without names until you have voted; press again to turn this off."),
        ("prefer-answer", "", "+", "Prefer this answer", "Vote for the current lane's last answer, with the names known."),
        ("undo-vote", "", "U", "Undo the last vote", "Undo the last vote of this conversation."),
    ],
    "Conversation": [
        ("new-conversation", "ctrl+n", "", "New conversation", "Start a new conversation in the same lanes."),
        ("reopen", "ctrl+o", "/", "Earlier conversations",
         "Search the history; open, rename, pin, tag, delete, export or import conversations."),
        ("find", "", "S", "Find in this conversation", "Find words in the prompts and answers of all lanes, and go there."),
    ],
    "Program": [
        ("palette", "ctrl+p", ":", "Commands", "Find a command by its name."),
        ("help", "f1", "?", "Help", "Show the active keys. In an empty prompt, the key ? shows them too."),
        ("suspend", "ctrl+z", "", "Return to the shell",
         "Stop the program and return to the shell; its command fg continues the program."),
        ("offline", "", "O", "Offline or online",
         "Go offline, which blocks all connections and ends the engines at servers; or go online again."),
        ("quit", "ctrl+q", "", "Quit", "Quit paragone. Conversations are kept."),
    ],
    "Lane mode": [
        ("write", "", "i,enter,ctrl+f", "Write a prompt", "Return to the prompt."),
        ("scroll-down", "", "j,down", "Row down", "Scroll the current lane down by a row."),
        ("scroll-up", "", "k,up", "Row up", "Scroll the current lane up by a row."),
        ("half-page-down", "", "ctrl+d", "Half a page down", "Scroll the current lane down by half a page."),
        ("half-page-up", "", "ctrl+u", "Half a page up", "Scroll the current lane up by half a page."),
    ],
}  # fmt: skip
"""For each group: the id, the keys, the keys of lane mode, the title and the help of each command."""
COMMANDS: tuple[ScreenCommand, ...] = tuple(
    ScreenCommand(id=id_, keys=keys, lane_keys=lane_keys, title=title, help=text, group=group)
    for group, commands in _TABLE.items()
    for id_, keys, lane_keys, title, text in commands
)
