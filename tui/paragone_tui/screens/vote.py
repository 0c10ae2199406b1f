"""Blind votes: a prompt and the answers side by side, with letters instead of the engines' names; `paragone vote`."""

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.getters import query_one
from textual.screen import Screen, ScreenResultType
from textual.widgets import Static

from paragone import ParagoneError
from paragone.network import GUARD
from paragone_tui.program_app import ProgramApp
from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.transcript import Link, Transcript
from paragone_tui.widgets.modal import SCROLL_BINDINGS, Column, Modal, columns_that_fit, hints, show_columns
from paragone_workbench.config.settings import Config
from paragone_workbench.config.state import State
from paragone_workbench.experiments.voting import LETTERS, Ballot, ExperimentBallots
from paragone_workbench.runs.run import Run
from paragone_workbench.store import History
from paragone_workbench.store.votes import VoteChoice


class AnswerColumn(Column):
    DEFAULT_CSS = """
    AnswerColumn .label { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, letter: str, *, markdown: bool) -> None:
        super().__init__()
        self._letter = letter
        self._label = Static(classes="label", markup=False)
        self.transcript = Transcript(markdown=markdown)
        self.show_label()

    def compose(self) -> ComposeResult:
        yield self._label
        yield self.transcript

    def show_label(self, engine: str = "", verdict: str = "") -> None:
        name = f"  {one_line(engine)}" if engine else ""
        vote = (f"  {verdict}" if verdict else "", "bold")
        self._label.update(Content.assemble((self._letter, "bold"), name, vote))

    def show(self, run: Run, why: str = "") -> None:
        """Show an answer from its start; `why` as in `end`."""
        self.transcript.clear()
        if run.state != "failed":
            self.transcript.write(run.text)
        self.end(run, why)
        self.transcript.reveal(self.transcript.blocks[0], "")

    def end(self, run: Run, why: str = "") -> None:
        """End the answer's text. Show whether it is empty or failed, with the error `why` if the user may know the engine."""
        self.transcript.end()
        if run.state == "failed":
            self.transcript.add("error", why or "This answer failed.")
        elif not run.text.strip():
            self.transcript.add("note", "The answer is empty.")


class VoteScreen(Modal[ScreenResultType]):
    """Shows a ballot, and takes the vote. The screen covers the whole terminal, so that no engine's name is visible. A
    subclass must define the actions `go_on`, `skip`, `undo` and `leave`."""

    AUTO_FOCUS = ""
    HELP = "Votes"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(f"{letter.lower()},{at + 1}", f"choose({at})", f"{letter} is better", show=at < 2)
            for at, letter in enumerate(LETTERS)
        ),
        ("t", "choose('tie')", "Equally good"),
        ("x", "choose('bad')", "All are bad"),
        ("s", "skip", "Skip, without a vote"),
        ("u", "undo", "Undo the last vote"),
        ("q", "leave", "Quit voting"),
        Binding("enter", "go_on", "Go on", show=False),
        *SCROLL_BINDINGS,
        Binding("l,right", "shift(1)", "Answers to the right", show=False),
        Binding("h,left", "shift(-1)", "Answers to the left", show=False),
        Binding("J", "prompt_rows(1)", "Prompt: row down", show=False),
        Binding("K", "prompt_rows(-1)", "Prompt: row up", show=False),
    ]
    DEFAULT_CSS = """
    VoteScreen {
        background: $background;
        #about, #remark, #keys { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #about, #keys { color: $text-muted; }
        #asked {
            height: auto; max-height: 30%; padding: 0 1; border-bottom: solid $surface-lighten-2;
            scrollbar-size-vertical: 1;
        }
        #answers { height: 1fr; }
        #remark { border-top: solid $surface-lighten-2; height: 2; }
    }
    """

    about = query_one("#about", Static)
    asked = query_one("#asked", VerticalScroll)
    prompt = query_one("#prompt", Static)
    answers = query_one("#answers", Horizontal)
    remark = query_one("#remark", Static)
    keys = query_one("#keys", Static)

    def __init__(self, program: ProgramApp, *, markdown: bool) -> None:
        super().__init__()
        self._program = program
        self._markdown = markdown
        self.ballot: Ballot | None = None
        self.revealed = False
        self.columns: list[AnswerColumn] = []
        self._first = 0
        self._link = Link()
        self._hinted: Sequence[tuple[str, str]] = ()

    def compose(self) -> ComposeResult:
        yield Static(id="about", markup=False)
        with VerticalScroll(id="asked", can_focus=False):
            yield Static(id="prompt", markup=False)
        yield Horizontal(id="answers")
        yield Static(id="remark", markup=False)
        yield from self.compose_field()
        yield Static(id="keys", markup=False)

    def compose_field(self) -> ComposeResult:
        """Yield the widgets between the remark and the key hints. By default, there are none."""
        return ()

    async def add_columns(self, count: int) -> None:
        self.columns = [AnswerColumn(letter, markdown=self._markdown) for letter in LETTERS[:count]]
        await self.answers.mount(*self.columns)
        self._lay_out(self.size.width)

    def on_resize(self, event: events.Resize) -> None:
        self._lay_out(event.size.width)
        self._fit_hints(event.size.width)

    def _lay_out(self, width: int) -> None:
        count = min(len(self.columns), columns_that_fit(width))
        self._first = show_columns(self.columns, self._first, count)
        self._link.join([column.transcript for column in self.columns if column.display] if count > 1 else [])

    @property
    def is_gone(self) -> bool:
        return self.leaving or self._program.is_leaving

    # Contents

    def show_prompt(self, ballot: Ballot) -> None:
        self.ballot = ballot
        self.revealed = False
        self.prompt.update(visible(ballot.prompt))
        self.asked.scroll_home(animate=False)
        for column in self.columns:
            column.show_label()
            column.transcript.clear()

    def show_names(self, choice: VoteChoice | None) -> None:
        assert self.ballot is not None
        self.revealed = True
        for number, (column, run) in enumerate(zip(self.columns, self.ballot.answers, strict=True)):
            column.show_label(self.name_of(run), "✓ better" if choice == number else "")
            column.show(run, "" if run.error is None else run.error.message)

    def name_of(self, run: Run) -> str:
        return run.result.definition.name

    def say(self, message: str) -> None:
        self.remark.update(one_line(message))

    def show_hints(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._hinted = pairs
        self._fit_hints(self.size.width)

    def network_changed(self) -> None:
        self._fit_hints(self.size.width)

    def _fit_hints(self, width: int) -> None:
        pairs = [("offline", ""), *self._hinted] if GUARD.is_offline else self._hinted
        self.keys.update(hints(pairs, width - 2))

    @property
    def letters(self) -> str:
        return " ".join(LETTERS[: len(self.columns)].lower())

    # Voting

    def action_choose(self, choice: VoteChoice) -> None:
        """Vote for an answer by its index, or vote that all answers are equally good or bad."""
        ballot = self.ballot
        if ballot is None or (isinstance(choice, int) and choice >= len(self.columns)):
            return
        refusal = self.refusal(choice)
        if refusal:
            self.say(refusal)
        else:
            self.do(lambda: self.cast(ballot, choice))

    def refusal(self, choice: VoteChoice) -> str:
        assert self.ballot is not None
        if len(self.ballot.candidates) < 2:
            return "No vote is possible: too many answers failed. s skips this prompt."
        if isinstance(choice, int) and self.ballot.answers[choice].state == "failed":
            return f"Answer {LETTERS[choice]} failed and cannot be preferred."
        return ""

    @abstractmethod
    async def cast(self, ballot: Ballot, choice: VoteChoice) -> None:
        """Save a vote, and show the outcome. Raises ParagoneError."""

    def do(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function in the background. If the function raises ParagoneError, show the error. The
        coroutine continues if the screen is closed meanwhile, and the program waits for the end of the coroutine, so
        that no vote is lost."""
        self._program.save(self._program.run_and_report_errors(work))

    # Scrolling

    def action_rows(self, rows: int) -> None:
        for transcript in self._shown:
            transcript.scroll_rows(rows)

    def action_pages(self, pages: float) -> None:
        for transcript in self._shown:
            transcript.scroll_pages(pages)

    def action_to_start(self) -> None:
        for transcript in self._shown:
            transcript.to_start()

    def action_to_end(self) -> None:
        for transcript in self._shown:
            transcript.to_end()

    def action_prompt_rows(self, rows: int) -> None:
        self.asked.scroll_relative(y=rows, animate=False)

    def action_shift(self, offset: int) -> None:
        """Show the answers further to the right (1) or left (-1), if not all answers fit on the screen."""
        self._first += offset
        self._lay_out(self.size.width)

    @property
    def _shown(self) -> Sequence[Transcript]:
        """The transcript of the first visible answer, with which the linked answers scroll. Empty before there are answers."""
        return [column.transcript for column in self.columns[self._first : self._first + 1]]


def verdict_of(choice: VoteChoice) -> str:
    if isinstance(choice, int):
        return f"{LETTERS[choice]} is better"
    return "equally good" if choice == "tie" else "all are bad"


_VOTING = (
    ("t", "tie"),
    ("x", "both bad"),
    ("s", "skip"),
    ("u", "undo"),
    ("q", "quit"),
    ("?", "help"),
    ("r", "last names"),
    ("j k", "scroll"),
)
"""Key hints for a ballot, shown after the letters, with the most important keys first."""


class ExperimentVote(VoteScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+c", "leave", "Quit voting"),
        ("r", "reveal", "Names of the last vote"),
    ]

    def __init__(self, history: History, experiment_id: int, *, program: ProgramApp, markdown: bool) -> None:
        super().__init__(program, markdown=markdown)
        self._history = history
        self._experiment_id = experiment_id
        self._ballots: ExperimentBallots | None = None
        self._last: tuple[Ballot, VoteChoice] | None = None
        self._waiting: Ballot | None = None
        """The ballot to return to while the names of the last vote are shown."""
        self._known: set[tuple[frozenset[str], int | None]] = set()
        """The ballots whose names were shown, by engines and prompt. Another vote on these ballots is not blind."""

    def on_mount(self) -> None:
        self.do(self._begin)

    async def _begin(self) -> None:
        await self.add_columns(2)
        self._ballots = await self._history.call(lambda store: ExperimentBallots(store, self._experiment_id))
        await self._next()

    async def _next(self, remark: str = "") -> None:
        """Show the next ballot, or a message if there is none, and a remark on the last ballot."""
        ballots = self._ballots
        assert ballots is not None
        ballot = await self._history.call(lambda _: ballots.take())
        if self.is_gone:
            return
        if ballot is None:
            self._show_end(ballots)
        else:
            self._show(ballot)
        self.say(remark)

    def _show(self, ballot: Ballot) -> None:
        self.answers.display = True
        self.show_prompt(ballot)
        for column, run in zip(self.columns, ballot.answers, strict=True):
            column.show(run)
        self._show_progress()
        self.show_hints([(self.letters, "better"), *_VOTING])

    def _show_end(self, ballots: ExperimentBallots) -> None:
        self.ballot = None
        self._show_progress()
        skipped = ballots.total - ballots.voted
        left = f" Skipped: {skipped:,}; the same command shows them again." if skipped else ""
        self.prompt.update(
            f"There is no other ballot.{left} `paragone vote ratings` rates the engines by your votes."
            if ballots.total
            else "No vote is possible: no prompt has two different answers."
        )
        self.answers.display = False
        self.show_hints([("u", "undo"), ("r", "last names"), ("?", "help"), ("q", "quit")])

    def _show_progress(self) -> None:
        ballots = self._ballots
        assert ballots is not None
        same = f" · skipped, identical answers: {ballots.identical:,}" if ballots.identical else ""
        name = f"e{ballots.experiment.number} {ballots.experiment.name}"
        self.about.update(f"Blind vote · {name} · {ballots.voted:,}/{ballots.total:,}{same}")

    # Voting

    def refusal(self, choice: VoteChoice) -> str:
        return "You have voted on this; enter continues, u undoes the vote." if self.revealed else ""

    async def cast(self, ballot: Ballot, choice: VoteChoice) -> None:
        ballots = self._ballots
        assert ballots is not None
        blind = _key(ballot) not in self._known
        is_first = await self._history.call(lambda _: ballots.vote(ballot, choice, blind=blind))
        if is_first:
            self._last = ballot, choice
            remark = (
                f"Saved: {verdict_of(choice)}.{'' if blind else ' Not blind, since the names were known.'}"
            )
        else:
            remark = "Not counted: another program has voted on this ballot meanwhile."
        await self._next(remark)

    def action_skip(self) -> None:
        if self.revealed:
            self.action_go_on()
        elif self.ballot is not None:
            self.do(lambda: self._next("Skipped."))

    def action_undo(self) -> None:
        if self._ballots is not None:
            self.do(self._undo)

    async def _undo(self) -> None:
        ballots = self._ballots
        assert ballots is not None
        current = self._waiting if self.revealed else self.ballot
        ballot = await self._history.call(lambda _: ballots.undo(current))
        if self.is_gone:
            return
        if ballot is None:
            self.say("There is no vote to undo.")
            return
        self._last = self._waiting = None
        self._show(ballot)
        self.say("The vote is undone.")

    def action_reveal(self) -> None:
        """Show the names and the full answers of the last vote, or return from there to the current ballot."""
        if self.revealed:
            self.action_go_on()
        elif self._last is None:
            self.say("There is no last vote whose names could be shown.")
        else:
            ballot, choice = self._last
            self._waiting = self.ballot
            self._known.add(_key(ballot))
            self.answers.display = True
            self.show_prompt(ballot)
            self.show_names(choice)
            self.say(f"Your last vote: {verdict_of(choice)}.")
            self.show_hints([("enter", "go on"), ("u", "undo the vote"), ("j k", "scroll"), ("q", "quit")])

    def action_go_on(self) -> None:
        if not self.revealed or self._ballots is None:
            return
        self.revealed = False
        self.say("")
        if self._waiting is None:
            self._show_end(self._ballots)
        else:
            self._show(self._waiting)

    def action_leave(self) -> None:
        self.dismiss(None)


def _key(ballot: Ballot) -> tuple[frozenset[str], int | None]:
    return frozenset(run.result.definition.name for run in ballot.answers), ballot.prompt_index


class VoteApp(ProgramApp):
    """The application of `paragone vote`: blind votes on the answers of an experiment, without lanes."""

    def __init__(self, *, config: Config, state: State, experiment_id: int) -> None:
        super().__init__(config=config, state=state)
        self._experiment_id = experiment_id
        self.history: History | None = None

    def get_default_screen(self) -> Screen[None]:
        return ChangedRowsScreen()

    def begin_work(self) -> None:
        self.run_worker(self._open(), group="work")

    async def _open(self) -> None:
        try:
            self.history = await History.open()
        except ParagoneError as error:
            self.exit_messages.append(str(error))
            self.exit(return_code=error.exit_code)
        else:
            vote = ExperimentVote(self.history, self._experiment_id, program=self, markdown=self.ui.markdown)
            self.push_screen(vote, lambda _: self.exit())

    async def close_all(self) -> None:
        if self.history is not None:
            await self.history.close()
