"""A blind turn of a conversation: the lanes' answers to a prompt are shown without names until the user has voted."""

from collections.abc import Callable, Sequence
from math import inf
from time import monotonic
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.timer import Timer

from paragone_tui.key_order import ACT
from paragone_tui.program_app import ProgramApp
from paragone_tui.screens.lanes.composer import Composer
from paragone_tui.screens.vote import VoteScreen, verdict_of
from paragone_tui.terminal.changed_rows_screen import BEAT
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.fields import Confirmation
from paragone_workbench.experiments.voting import Ballot, save_vote
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.run import Run
from paragone_workbench.store import History
from paragone_workbench.store.records import QueuedPrompt
from paragone_workbench.store.votes import VoteChoice

_ACTIONS = {
    "send": "queue_prompt",
    "newline": "newline",
    "stop": "stop",
    "recall-earlier": "rows(-1)",
    "recall-later": "rows(1)",
    "page-up": "pages(-1)",
    "page-down": "pages(1)",
    "to-start": "to_start",
    "to-end": "to_end",
}
"""The actions of this screen for commands whose keys work while the user writes the next prompt."""


class NextPrompt(Composer):
    """The field for the prompt after the vote. It does not show how full the contexts are, because that names the lanes."""

    def update_gauge(self) -> None:
        pass


class BlindTurn(VoteScreen[bool | None]):
    """Shows the lanes' answers while the engines write. The screen's result is whether the next prompt is also blind.
    Until the question, keys write the next prompt. Then an empty field gives the keys to the vote; a text keeps them
    until it is sent or left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("ctrl+c", "stop", "Stop the answers"),
        ("escape", "leave", "Quit voting"),
        ("i", "write", "Write the next prompt"),
    ]

    def __init__(
        self,
        history: History,
        session: Session,
        ask: Callable[[], Ballot | None],
        *,
        ahead: Sequence[QueuedPrompt] = (),
        program: ProgramApp,
        markdown: bool,
    ) -> None:
        """Create the screen. Once the screen covers the lanes, `ask` sends the prompt and returns its ballot, or returns
        None. `ahead` are prompts of the queue that wait for this vote."""
        super().__init__(program, markdown=markdown)
        self.ahead = [*ahead]
        """The prompts of the queue that were sent before the vote, and wait for it."""
        actions = {
            key: f"screen.{action}"
            for command, action in _ACTIONS.items()
            for key in program.keys[command].both
        }
        when_empty = dict.fromkeys(program.keys["help"].lane, "app.help")
        self.next_prompt = NextPrompt(actions, when_empty, program, session)
        self._history = history
        self._session = session
        self._ask = ask
        self._lengths: list[int] = []
        """Number of characters that are shown of each answer. Empty before the prompt is sent."""
        self._complete: set[int] = set()
        """Indices of the answers that are shown to their end."""
        self._asked_at = inf
        """When the user was asked for a vote, on the clock of events."""
        self._wrote_until_asked = False
        """Whether the keys that were typed before the question, and arrive after it, belong to the next prompt."""
        self._timer: Timer | None = None
        self._vote_id: str | None = None

    def compose_field(self) -> ComposeResult:
        yield self.next_prompt.completion
        yield self.next_prompt

    async def on_mount(self) -> None:
        self.action_write()
        self._show_ahead()
        ballot = self._ask()
        if ballot is None:
            self.dismiss(True)
            return
        self._lengths = [0] * len(ballot.answers)
        await self.add_columns(len(ballot.answers))
        self.show_prompt(ballot)
        self._show_keys()
        self.say("The answers appear once all have begun.")
        self._timer = self.set_interval(BEAT, lambda: self._advance(ballot))

    @property
    def _are_complete(self) -> bool:
        return 0 < len(self._lengths) == len(self._complete)

    def _advance(self, ballot: Ballot) -> None:
        """Show as many characters of each answer as the shortest unfinished answer has. Before all answers have begun,
        no text is shown, and the speed of an engine does not reveal the engine."""
        limit = min((len(run.text) for run in ballot.answers if run.phase != "ended"), default=None)
        if self.revealed or limit == 0:
            return
        had_begun = any(self._lengths)
        for number, (column, run) in enumerate(zip(self.columns, ballot.answers, strict=True)):
            text = run.text[self._lengths[number] : limit]
            column.transcript.write(text)
            self._lengths[number] += len(text)
            is_complete = run.phase == "ended" and self._lengths[number] == len(run.text)
            if is_complete and number not in self._complete:
                self._complete.add(number)
                column.end(run)  # without an error, which could reveal the engine
            column.transcript.flush()
        self._show_keys()
        if self._are_complete:
            if self._timer is not None:
                self._timer.stop()
            self._asked_at = monotonic()
            self._wrote_until_asked = self._writes
            if self.next_prompt.text:
                self._ask_for_vote()
            else:
                self._leave_prompt()
        elif any(self._lengths) and not had_begun:
            self.say("Read on; you can vote once all answers are complete.")

    def _ask_for_vote(self) -> None:
        first = "Send or leave (esc) your next prompt, then vote: " if self._writes else ""
        self.say(self.refusal("tie") or f"{first}Which answer is better?")

    def _show_keys(self) -> None:
        if self._writes:
            hints = [("enter", "queue"), ("esc", "leave the prompt"), ("^c", "stop"), ("↑ ↓", "scroll")]
        elif self._vote_id is not None:
            hints = [("enter", "next prompt, blind"), ("q", "end blind voting"), ("u", "undo the vote")]
        elif self._are_complete:
            hints = [(self.letters, "better"), ("t", "tie"), ("x", "all bad"), ("s", "skip"), ("q", "quit")]
            hints += [("?", "help"), ("j k", "scroll"), ("i", "write")]
        else:
            hints = [("^c", "stop"), ("esc", "quit"), ("?", "help"), ("j k", "scroll"), ("i", "write")]
        if hints != self._hinted:
            self.show_hints(hints)

    # The next prompt

    @property
    def _writes(self) -> bool:
        return self.focused is self.next_prompt

    def action_write(self) -> None:
        self.next_prompt.display = True
        self.set_focus(self.next_prompt)
        self._show_keys()

    def _leave_prompt(self) -> None:
        self.set_focus(None)
        self.next_prompt.display = bool(self.next_prompt.text)
        self._show_keys()
        if self._are_complete and not self.revealed:
            self._ask_for_vote()

    def action_command(self, command: str) -> None:
        """Leave the prompt: the field's own binding is for no other command."""
        if self.next_prompt.completion.is_open:
            self.next_prompt.completion.close()
        else:
            self._wrote_until_asked = False
            self._leave_prompt()

    def on_key(self, event: events.Key) -> None:
        """Let a key that was typed before the question, but arrives after it, act as in the field of the next prompt."""
        if not (self._wrote_until_asked and event.time < self._asked_at):
            return
        if event.key == "escape":
            event.stop()
            self._wrote_until_asked = False
        elif event.is_printable and event.character:
            event.stop()
            self.action_write()
            self.next_prompt.insert(event.character)
            self._ask_for_vote()

    def on_paste(self, event: events.Paste) -> None:
        if not self._writes:
            self.action_write()
            self.next_prompt.post_message(events.Paste(event.text))

    def on_resize(self, event: events.Resize) -> None:
        self.next_prompt.limit_height(event.size.height)
        super().on_resize(event)

    def on_text_area_changed(self) -> None:
        self._session.recorder.draft_changed()

    def action_newline(self) -> None:
        self.next_prompt.insert("\n")

    def action_queue_prompt(self) -> None:
        """Queue the prompt until the vote. Without a text, leave the field if the user is asked for a vote."""
        if self.next_prompt.prompt.strip():
            self.run_worker(self._program.run_and_report_errors(self._queue_prompt), group=ACT)
        elif self._are_complete:
            self._leave_prompt()

    async def _queue_prompt(self) -> None:
        if not await self.next_prompt.settle():
            return
        draft = self.next_prompt.take()
        queued = QueuedPrompt(text=draft.text, files=draft.files, images=draft.images, lanes=[])
        self._session.queue.add(queued, [])  # without lanes, no lane begins it
        self.ahead.append(queued)
        self._show_ahead()
        if self._are_complete:
            self._leave_prompt()

    def _show_ahead(self) -> None:
        number = f"{len(self.ahead)} waiting, " if len(self.ahead) > 1 else ""
        ahead = f" · {number}next: {one_line(self.ahead[0].text)}" if self.ahead else ""
        self.about.update(f"Blind vote{ahead}")

    # Voting

    def refusal(self, choice: VoteChoice) -> str:
        if self._vote_id is not None:
            return "You have voted; u undoes the vote."
        return super().refusal(choice)

    async def cast(self, ballot: Ballot, choice: VoteChoice) -> None:
        self._vote_id = await save_vote(self._history, self._session, ballot, choice, blind=not self.revealed)
        if self.is_gone:
            return
        self.show_names(choice)
        uncounted = (
            "" if ballot.is_rated else " The vote does not count in ratings: the engines have the same name."
        )
        self.say(f"Saved: {verdict_of(choice)}.{uncounted}")
        self._show_keys()

    def name_of(self, run: Run) -> str:
        lanes = self._session.lanes
        return next((lane.name for lane in lanes if run in lane.record.runs), run.result.definition.name)

    def action_skip(self) -> None:
        self.dismiss(True)

    def action_leave(self) -> None:
        """Leave; before a vote, ask first, because the lanes show the names."""
        if self.ballot is None or self.revealed:
            self.dismiss(False)
        else:
            question = Confirmation("Quit without a vote? The names are shown then.")
            self.app.push_screen(question, self._leave)

    def _leave(self, confirmed: bool | None) -> None:
        if confirmed:
            self.dismiss(False)

    def action_go_on(self) -> None:
        if self.revealed:
            self.dismiss(True)

    def action_undo(self) -> None:
        """Undo the vote. A new vote counts as not blind, because the names are known."""
        if self._vote_id is None:
            self.say("There is no vote to undo.")
        else:
            self.do(self._undo)

    async def _undo(self) -> None:
        vote_id = self._vote_id
        if vote_id is not None:
            await self._history.call(lambda store: store.votes.delete(vote_id))
            self._vote_id = None
            if self.is_gone:
                return
            self.show_names(None)
            self._show_keys()
            self.say("The vote is undone. Another vote counts as not blind.")

    def action_stop(self) -> None:
        if self._are_complete or self.ballot is None:
            self.action_leave()
        else:
            self.ahead.clear()  # as in any queue, a stop keeps what waits until the user sends it again
            self._show_ahead()
            self.do(self._session.stop)
