"""The screen of a vote: a prompt, and the answers side by side, with letters instead of the engines' names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.getters import query_one
from textual.screen import ScreenResultType
from textual.widgets import Static

from paragone.network.guard import GUARD
from paragone_tui.program import Program
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.transcript import Transcript
from paragone_tui.transcript.link import Link
from paragone_tui.widgets.column import Column, columns_that_fit, show_columns
from paragone_tui.widgets.hints import hints
from paragone_tui.widgets.modal import SCROLL_BINDINGS, Modal
from paragone_workbench.compare.votes import VoteChoice
from paragone_workbench.experiments.voting.ballots import LETTERS, Ballot
from paragone_workbench.runs.run import Run


class AnswerColumn(Column):
    """Shows an answer under its letter."""

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
        """Create the label and the text."""
        yield self._label
        yield self.transcript

    def show_label(self, engine: str = "", verdict: str = "") -> None:
        """Show the letter, the vote, and the engine's name if the user may see the name."""
        name = f"  {one_line(engine)}" if engine else ""
        vote = (f"  {verdict}" if verdict else "", "bold")
        self._label.update(Content.assemble((self._letter, "bold"), name, vote))

    def show_text(self, text: str) -> None:
        """Replace the shown text with a complete answer, and scroll to its beginning."""
        transcript = self.transcript
        transcript.clear()
        transcript.write(text)
        self.end(is_empty=not text.strip())
        transcript.reveal(transcript.blocks[0], "")

    def end(self, *, is_empty: bool) -> None:
        """Finish the answer's text, and show a note if the answer is empty."""
        self.transcript.end()
        if is_empty:
            self.transcript.add("note", "The answer is empty.")

    def fail(self, why: str = "") -> None:
        """End the answer's text, and show that the answer failed, or the error `why` if the user may know the engine."""
        self.transcript.end()
        self.transcript.add("error", why or "This answer failed.")


class VoteScreen(Modal[ScreenResultType]):
    """Shows a ballot, and takes the vote. The screen covers the whole terminal, so that no engine's name is visible.

    A subclass must define the actions `skip`, `undo` and `leave`.
    """

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
        ("u", "undo", "Take the last vote back"),
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

    def __init__(self, program: Program, *, markdown: bool) -> None:
        """Create the screen. `markdown` is whether answers are typeset."""
        super().__init__()
        self._program = program
        self._markdown = markdown
        self.ballot: Ballot | None = None
        """The shown ballot; None if there is none."""
        self.revealed = False
        """Whether the names of the engines are shown."""
        self.columns: list[AnswerColumn] = []
        self._first = 0
        self._link = Link()
        self._hinted: Sequence[tuple[str, str]] = ()

    def compose(self) -> ComposeResult:
        """Create the prompt, the area for the answers, and the lines above and below."""
        yield Static(id="about", markup=False)
        with VerticalScroll(id="asked", can_focus=False):
            yield Static(id="prompt", markup=False)
        yield Horizontal(id="answers")
        yield Static(id="remark", markup=False)
        yield Static(id="keys", markup=False)

    async def add_columns(self, count: int) -> None:
        """Create columns for this number of answers."""
        self.columns = [AnswerColumn(letter, markdown=self._markdown) for letter in LETTERS[:count]]
        await self.answers.mount(*self.columns)
        self._lay_out(self.size.width)

    def on_resize(self, event: events.Resize) -> None:
        """Show as many answers and key hints as fit into the new width."""
        self._lay_out(event.size.width)
        self._fit_hints(event.size.width)

    def _lay_out(self, width: int) -> None:
        count = min(len(self.columns), columns_that_fit(width))
        self._first = show_columns(self.columns, self._first, count)
        self._link.join([column.transcript for column in self.columns if column.display] if count > 1 else [])

    @property
    def is_gone(self) -> bool:
        """Whether the screen or the whole program is being closed."""
        return self.leaving or self._program.is_leaving

    # Contents

    def show_prompt(self, ballot: Ballot) -> None:
        """Show a ballot's prompt, and empty the columns."""
        self.ballot = ballot
        self.revealed = False
        self.prompt.update(visible(ballot.prompt))
        self.asked.scroll_home(animate=False)
        for column in self.columns:
            column.show_label()
            column.transcript.clear()

    def show_names(self, choice: VoteChoice | None) -> None:
        """Show the names of the engines, and their answers without masked names."""
        assert self.ballot is not None
        self.revealed = True
        for number, (column, run) in enumerate(zip(self.columns, self.ballot.answers, strict=True)):
            column.show_label(self.name_of(run), "✓ better" if choice == number else "")
            if run.state == "failed":
                column.transcript.clear()
                column.fail("" if run.error is None else run.error.sentence)
            else:
                column.show_text(run.text)

    def name_of(self, run: Run) -> str:
        """Return the name of an answer's engine."""
        return run.result.definition.name

    def say(self, sentence: str) -> None:
        """Show a sentence below the answers."""
        self.remark.update(one_line(sentence))

    def show_hints(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Show as many key hints as fit. Pass the most important keys first."""
        self._hinted = pairs
        self._fit_hints(self.size.width)

    def network_changed(self) -> None:
        """Show whether the program is offline."""
        self._fit_hints(self.size.width)

    def _fit_hints(self, width: int) -> None:
        pairs = [("offline", ""), *self._hinted] if GUARD.is_offline else self._hinted
        self.keys.update(hints(pairs, width - 2))

    @property
    def letters(self) -> str:
        """The keys that vote for an answer, separated by spaces."""
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
        """Return why this vote cannot be cast now; empty if it can be cast."""
        assert self.ballot is not None
        if len(self.ballot.candidates) < 2:
            return "There is nothing to vote on: too many answers failed. s skips this prompt."
        if isinstance(choice, int) and self.ballot.answers[choice].state == "failed":
            return f"Answer {LETTERS[choice]} failed and cannot be preferred."
        return ""

    @abstractmethod
    async def cast(self, ballot: Ballot, choice: VoteChoice) -> None:
        """Save a vote, and show the outcome. Raises ParagoneError."""

    def action_go_on(self) -> None:
        """Continue after a vote. By default, do nothing."""

    def do(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run a coroutine function in the background. If the function raises ParagoneError, show the error.

        The coroutine continues if the screen is closed meanwhile, and the program waits for the end of the coroutine, so that
        no vote is lost.
        """
        self._program.save(self._program.reported(work))

    # Scrolling

    def action_rows(self, rows: int) -> None:
        """Scroll the answers down by a number of rows, or up if the number is negative."""
        for transcript in self._shown:
            transcript.scroll_rows(rows)

    def action_pages(self, pages: float) -> None:
        """Scroll the answers down by a number of screenfuls, or up if the number is negative."""
        for transcript in self._shown:
            transcript.scroll_pages(pages)

    def action_to_start(self) -> None:
        """Scroll the answers to their beginning."""
        for transcript in self._shown:
            transcript.to_start()

    def action_to_end(self) -> None:
        """Scroll the answers to their end, and follow new text."""
        for transcript in self._shown:
            transcript.to_end()

    def action_prompt_rows(self, rows: int) -> None:
        """Scroll the prompt by a number of rows."""
        self.asked.scroll_relative(y=rows, animate=False)

    def action_shift(self, by: int) -> None:
        """Show the answers further to the right (1) or left (-1), if not all answers fit on the screen."""
        self._first += by
        self._lay_out(self.size.width)

    @property
    def _shown(self) -> Sequence[Transcript]:
        """The transcript of the first visible answer: the linked answers scroll along. Empty before there are answers."""
        return [column.transcript for column in self.columns[self._first : self._first + 1]]


def verdict_of(choice: VoteChoice) -> str:
    """Return a vote in words."""
    if isinstance(choice, int):
        return f"{LETTERS[choice]} is better"
    return "equally good" if choice == "tie" else "all are bad"
