"""The part of the application that its screens use, and the list of the commands of the screens."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

from paragone import ParagoneError

Do: TypeAlias = Callable[[Callable[[], Coroutine[None, None, None]]], None]
"""Runs a coroutine function in the background, for which later keys wait. The application shows a ParagoneError."""


class Program(Protocol):
    """The application, as its screens see it."""

    @property
    def is_leaving(self) -> bool:
        """Whether the program is about to end, so that the widgets may be gone."""

    def say(self, sentence: str, *, warning: bool = False) -> None:
        pass

    def remove_message(self, sentence: str) -> None:
        pass

    def complain(self, error: ParagoneError) -> None:
        """Show an error that belongs to no lane."""

    async def reported(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function. If the function raises ParagoneError, show the error."""

    def save(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine that saves something, in the background. The program waits for it before it ends, and so do keys."""

    async def edit_text(self, text: str) -> str | None:
        """Return a text as the user's editor has saved it; None if the text is unchanged. Raises ParagoneError."""

    def copy(self, text: str) -> None:
        """Copy text to the clipboard and show a message. A text that is too long for terminals goes to a file."""

    def copy_to_file(self, text: str) -> None:
        """Write text to the file that replaces the clipboard, and show the file's path."""

    def clear_notifications(self) -> None:
        pass


CommandGroup: TypeAlias = Literal["Prompt", "Lane", "Lanes", "Conversation", "Program", "Lane mode"]
GROUPS: tuple[CommandGroup, ...] = get_args(CommandGroup)
"""The groups in the order of the help. Commands of `Lane mode` have keys in that mode only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenCommand:
    """A command with its keys. `id` is the command's name under `[keys]` in config.toml.

    Default keys are separated by commas. Use only keys that plain terminals and tmux pass on. A command whose only other key
    is a function key, or a key that some terminals do not send, has a key in lane mode, too.
    """

    id: str
    keys: str = ""
    """Keys in both modes: while the user writes a prompt, and in lane mode. Alt with a character belongs to `lane_keys`."""
    lane_keys: str = ""
    """Keys in lane mode only. These keys take precedence over the `keys` of other commands.

    Terminals send Alt and a character as Escape and the character. Escape enters lane mode, so these keys work with Alt while
    the user writes.
    """
    title: str
    help: str
    group: CommandGroup

    @property
    def action(self) -> str:
        """The Textual action: the application's for the group `Program`, the lanes screen's for all other groups."""
        program = f"app.{self.id.replace('-', '_')}"
        return program if self.group == "Program" else f"screen.command('{self.id}')"


COMMANDS: tuple[ScreenCommand, ...] = (
    ScreenCommand(id="send", keys="enter", title="Send", group="Prompt",
            help="Send the prompt to all lanes. A busy lane queues it."),
    ScreenCommand(id="send-to-lane", keys="ctrl+s", title="Send to this lane", group="Prompt",
            help="Send the prompt to the current lane only."),
    ScreenCommand(id="newline", keys="ctrl+j,shift+enter,alt+enter", title="New line", group="Prompt",
            help="Insert a line break into the prompt."),
    ScreenCommand(id="lane-mode", keys="escape,ctrl+f", title="Lane mode", group="Prompt",
            help="Go to the current lane, where single letters are commands."),
    ScreenCommand(id="editor", keys="ctrl+g", title="Write in your editor", group="Prompt",
            help="Edit the prompt in the program that VISUAL or EDITOR names."),
    ScreenCommand(id="attach-file", lane_keys="@", title="Attach a file", group="Prompt",
            help="Attach a text, a PDF or an image: type @ and its path."),
    ScreenCommand(id="recall-earlier", keys="up,ctrl+up", title="Earlier prompt", group="Prompt",
            help="Recall the previous prompt; up works only in an empty or a recalled prompt."),
    ScreenCommand(id="recall-later", keys="down,ctrl+down", title="Later prompt", group="Prompt",
            help="Recall the next prompt; after the last prompt comes the text that you have begun."),
    ScreenCommand(id="search-prompts", keys="ctrl+r", title="Search earlier prompts", group="Prompt",
            help="Find an earlier prompt, also of other conversations, and write it again."),
    ScreenCommand(id="word-back", lane_keys="b", title="Word back", group="Prompt",
            help="Move a word back in the prompt; with alt while you write."),
    ScreenCommand(id="word-forward", lane_keys="f", title="Word forward", group="Prompt",
            help="Move a word forward in the prompt; with alt while you write."),
    ScreenCommand(id="delete-word", lane_keys="d", title="Delete a word", group="Prompt",
            help="Delete the next word of the prompt; with alt while you write."),
    ScreenCommand(id="edit-prompt", lane_keys="C", title="Edit an earlier prompt", group="Prompt",
            help="Edit the last prompt of the current lane, or the selected prompt; press again for the previous prompt. The old prompt is kept."),
    ScreenCommand(id="queue", lane_keys="Q", title="Prompts that wait", group="Prompt",
            help="Edit, remove or send again a prompt that waits for a lane, or that a stop has kept."),
    ScreenCommand(id="stop-lane", keys="f8", lane_keys="s", title="Stop this lane", group="Lane",
            help="Stop the current lane's answers, and keep their text. If the lane is not answering, stop loading its engine."),
    ScreenCommand(id="regenerate", keys="f5", lane_keys="r", title="Regenerate", group="Lane",
            help="Answer the last or the selected prompt again in the current lane. All answers are kept as variants."),
    ScreenCommand(id="continue-answer", lane_keys="m", title="Continue the answer", group="Lane",
            help="Continue an answer that was cut, stopped or interrupted. The earlier answer is kept."),
    ScreenCommand(id="previous-variant", keys="alt+left", lane_keys="[", title="Previous variant", group="Lane",
            help="Show the previous variant of the answer or of the edited prompt. If the prompt has text, alt+left moves "
                 "a word back."),
    ScreenCommand(id="next-variant", keys="alt+right", lane_keys="]", title="Next variant", group="Lane",
            help="Show the next variant of the answer or of the edited prompt. If the prompt has text, alt+right moves "
                 "a word forward."),
    ScreenCommand(id="previous-turn", keys="alt+up", lane_keys="K", title="Select the turn before", group="Lane",
            help="Select an earlier turn: variants, regenerating, copying and editing then apply to this turn."),
    ScreenCommand(id="next-turn", keys="alt+down", lane_keys="J", title="Select the next turn", group="Lane",
            help="Select the next turn; after the last turn, none is selected, and commands apply to the last turn."),
    ScreenCommand(id="fork-lane", lane_keys="F", title="Fork into a new lane", group="Lane",
            help="Add a lane with the same engine and the conversation up to the selected turn."),
    ScreenCommand(id="tree", lane_keys="T", title="Turns and branches", group="Lane",
            help="Show all turns of the current lane with their branches; go to one of them."),
    ScreenCommand(id="swap-engine", keys="f4", lane_keys="e", title="Change engine", group="Lane",
            help="Continue in the current lane with another engine."),
    ScreenCommand(id="restart-engine", keys="f7", lane_keys="R", title="Restart engine", group="Lane",
            help="Restart an engine that failed or crashed; if all engines run, restart the current lane's engine."),
    ScreenCommand(id="copy-answer", lane_keys="y", title="Copy answer", group="Lane",
            help="Copy the selected turn's answer, or the last answer, to the clipboard, also over SSH and in tmux."),
    ScreenCommand(id="copy", lane_keys="Y", title="Copy …", group="Lane",
            help="Copy a block of code, the answer, the turn of all lanes or the conversation, to the clipboard or a file."),
    ScreenCommand(id="about-lane", keys="ctrl+l", title="About this lane", group="Lane",
            help="Show the current lane's engine, and how its model was opened."),
    ScreenCommand(id="costs", lane_keys="$", title="What this lane cost", group="Lane",
            help="Show the tokens and time of the current lane's answers, and what providers would charge."),
    ScreenCommand(id="settings", lane_keys="o", title="Settings", group="Lane",
            help="Change sampling options, load options and the system prompt, in this lane or in all."),
    ScreenCommand(id="reference-lane", lane_keys="=", title="Compare with this lane", group="Lane",
            help="Make the current lane the reference, with which the other lanes are compared. The reference lane has a ◆."),
    ScreenCommand(id="divergence", lane_keys="v", title="Where the answers part", group="Lane",
            help="Show the first token that differs between the answers, and its alternatives in each lane."),
    ScreenCommand(id="toggle-heat", lane_keys="p", title="Probabilities of tokens", group="Lane",
            help="Turn the colouring of the current lane's tokens by their probabilities on or off."),
    ScreenCommand(id="zoom", keys="f2", lane_keys="z", title="Zoom", group="Lane",
            help="Show the current lane only, or all lanes again."),
    ScreenCommand(id="close-lane", keys="f9", lane_keys="X", title="Close lane", group="Lane",
            help="Close the current lane and free the memory of its engine."),
    ScreenCommand(id="page-up", keys="pageup", title="Page up", group="Lane",
            help="Scroll the current lane up by a page."),
    ScreenCommand(id="page-down", keys="pagedown", lane_keys="space", title="Page down", group="Lane",
            help="Scroll the current lane down by a page."),
    ScreenCommand(id="to-start", keys="ctrl+home", lane_keys="g,home", title="To the start", group="Lane",
            help="Scroll the current lane to the start."),
    ScreenCommand(id="to-end", keys="ctrl+end", lane_keys="G,end", title="To the end", group="Lane",
            help="Scroll the current lane to the end, and follow new text."),
    ScreenCommand(id="stop", keys="ctrl+c", title="Stop all lanes", group="Lanes",
            help="Stop all answers, and keep their text and the prompts that wait. If no lane is answering, stop "
                 "loading models, or cancel editing a prompt."),
    ScreenCommand(id="next-lane", keys="tab", lane_keys="l,right", title="Next lane", group="Lanes",
            help="Select the lane to the right; while you write, the first lane follows the last lane."),
    ScreenCommand(id="previous-lane", keys="shift+tab", lane_keys="h,left", title="Previous lane", group="Lanes",
            help="Select the lane to the left; while you write, the last lane follows the first lane."),
    ScreenCommand(id="add-lane", keys="f3", lane_keys="a", title="Add lane", group="Lanes",
            help="Add a lane with another engine, up to six lanes."),
    ScreenCommand(id="toggle-thinking", keys="f6", lane_keys="t", title="Show or fold thinking", group="Lanes",
            help="Show the models' thinking in full, or as one line."),
    ScreenCommand(id="toggle-logs", lane_keys="E", title="Show or fold long texts", group="Lanes",
            help="Show long prompts, pasted texts, attached files, and the logs of crashed engines, in full or folded."),
    ScreenCommand(id="toggle-differences", lane_keys="D", title="Mark differences", group="Lanes",
            help="Turn the underlining of words that differ from the reference lane's words on or off."),
    ScreenCommand(id="toggle-link", lane_keys="L", title="Link or unlink lanes", group="Lanes",
            help="Align the turns of the lanes and scroll them together, or let each lane scroll alone."),
    ScreenCommand(id="toggle-mode", keys="ctrl+t", title="Parallel or in turn", group="Lanes",
            help="Let the lanes answer all at once, or one after the other for fair timing."),
    ScreenCommand(id="parity", lane_keys="c", title="Was it fair?", group="Lanes",
            help="Show which conditions differed between the lanes, and level them."),
    ScreenCommand(id="fidelity", lane_keys="V", title="How far from the reference", group="Lanes",
            help="Measure over a text how far the other lanes' models are from the model of the lane with ◆; esc stops."),
    ScreenCommand(id="blind-vote", lane_keys="u", title="Vote blind", group="Lanes",
            help="Show the next answers shuffled and without names until you have voted; press again to turn this off."),
    ScreenCommand(id="prefer-answer", lane_keys="+", title="Prefer this answer", group="Lanes",
            help="Vote for the current lane's last answer, with the names known."),
    ScreenCommand(id="undo-vote", lane_keys="U", title="Take the vote back", group="Lanes",
            help="Take back the last vote of this conversation."),
    ScreenCommand(id="new-conversation", keys="ctrl+n", title="New conversation", group="Conversation",
            help="Start a new conversation in the same lanes."),
    ScreenCommand(id="reopen", keys="ctrl+o", lane_keys="/", title="Earlier conversations", group="Conversation",
            help="Search the history; open, rename, pin, tag, delete, export or import conversations."),
    ScreenCommand(id="find", lane_keys="S", title="Find in this conversation", group="Conversation",
            help="Find words in the prompts and answers of all lanes, and go there."),
    ScreenCommand(id="palette", keys="ctrl+p", lane_keys=":", title="Commands", group="Program",
            help="Find a command by its name."),
    ScreenCommand(id="help", keys="f1", lane_keys="?", title="Help", group="Program",
            help="Show the keys in force. In an empty prompt, the key ? shows them, too."),
    ScreenCommand(id="suspend", keys="ctrl+z", title="Return to the shell", group="Program",
            help="Stop the program and return to the shell; its command fg continues the program."),
    ScreenCommand(id="offline", lane_keys="O", title="Offline or online", group="Program",
            help="Go offline, which blocks all connections and ends the engines at servers; or go online again."),
    ScreenCommand(id="quit", keys="ctrl+q", title="Quit", group="Program",
            help="Quit paragone. Conversations are kept."),
    ScreenCommand(id="write", lane_keys="i,enter,ctrl+f", title="Write a prompt", group="Lane mode",
            help="Return to the prompt."),
    ScreenCommand(id="scroll-down", lane_keys="j,down", title="Row down", group="Lane mode",
            help="Scroll the current lane down by a row."),
    ScreenCommand(id="scroll-up", lane_keys="k,up", title="Row up", group="Lane mode",
            help="Scroll the current lane up by a row."),
    ScreenCommand(id="half-page-down", lane_keys="ctrl+d", title="Half a page down", group="Lane mode",
            help="Scroll the current lane down by half a page."),
    ScreenCommand(id="half-page-up", lane_keys="ctrl+u", title="Half a page up", group="Lane mode",
            help="Scroll the current lane up by half a page."),
)  # fmt: skip
