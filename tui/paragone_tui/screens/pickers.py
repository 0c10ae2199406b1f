"""Pickers of the conversation: words, earlier prompts, texts to copy, queued prompts, and turns."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from paragone.texts import counted
from paragone_tui.key_order import LIST
from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker, marked
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.lanes.variants import Copy, find_in_lanes, tree, variant_origin
from paragone_workbench.runs.run import Run
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.records import Hit, QueuedPrompt
from paragone_workbench.store.saving import History


class FindScreen(Picker[Hit | None]):
    heading = "Find in this conversation"
    placeholder = "Words of prompts and answers, including variants that are not shown"
    key_hints = (("enter", "go there"), ("^j ^k", "move"), ("esc", "close"))

    def __init__(self, lanes: Sequence[Lane]) -> None:
        super().__init__()
        self._lanes = lanes
        self._hits: dict[str, Hit] = {}

    def fitting(self, text: str) -> Sequence[Option]:
        hits = find_in_lanes(self._lanes, text)
        self._hits = {str(number): hit for number, hit in enumerate(hits)}
        self.say(counted(len(hits), "place") if hits else "Nothing found." if text else "")
        return [
            Option(
                Content.assemble(
                    (f"{one_line(hit.engine) or 'prompt'}: ", "bold"), *marked(hit.snippet, text.split())
                ),
                id=option_id,
            )
            for option_id, hit in self._hits.items()
        ]

    def pick(self, option_id: str) -> None:
        self.dismiss(self._hits[option_id])


_SHOWN = 200
_BEGINNING = 200
"""Number of characters of a prompt that its row shows."""


class PromptPicker(Picker[str | None]):
    heading = "Earlier prompts"
    placeholder = "Search earlier prompts"
    key_hints = (("enter", "write again"), ("^j ^k", "move"), ("esc", "close"))
    DEFAULT_CSS = "PromptPicker OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, history: History | None, here: Sequence[str]) -> None:
        super().__init__()
        self._history = history
        self._here = tuple(dict.fromkeys(here))
        self._earlier: tuple[str, ...] = ()
        self._found: tuple[str, ...] = ()
        """The listed prompts. An option's id is the index of its prompt."""
        self._searched: str | None = None
        self._problem = ""

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the prompts that contain all words. For new words, start a search of the history that updates the list."""
        if text != self._searched:
            self._searched = text
            self._earlier = ()
            if self._history is not None:
                self.is_looking = True
                self.run_worker(self._search(self._history, text), group=LIST, exclusive=True)
        words = text.casefold().split()
        here = [prompt for prompt in self._here if all(word in prompt.casefold() for word in words)]
        self._found = tuple(dict.fromkeys((*here, *self._earlier)))
        return [Option(_row(prompt), id=str(number)) for number, prompt in enumerate(self._found)]

    async def _search(self, history: History, text: str) -> None:
        try:
            self._earlier = await history.call(lambda store: store.prompts(text, _SHOWN))
        except StoreError as error:
            self._problem = str(error)
        self.is_looking = False
        self.show()

    def describe(self) -> None:
        nothing = "No earlier prompt has these words." if self._searched else "There is no earlier prompt."
        self.say(self._problem or ("" if self._found or self.is_looking else nothing))

    def pick(self, option_id: str) -> None:
        self.dismiss(self._found[int(option_id)])


def _row(prompt: str) -> Content:
    lines = prompt.count("\n") + 1
    size = f"  {counted(lines, 'line')}" if lines > 1 else ""
    return Content.assemble(one_line(prompt.strip()[:_BEGINNING]), (size, "dim"))


class CopyPicker(Picker[tuple[Copy, bool] | None]):
    """The picker's result is the text to copy, and whether it goes to a file instead of the clipboard."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "to_file", "Write it to a file", priority=True)
    ]
    DEFAULT_CSS = "CopyPicker OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"
    heading = "Copy"
    placeholder = "Find what to copy"
    key_hints = (("enter", "copy"), ("^s", "to a file"), ("^j ^k", "move"), ("esc", "close"))

    def __init__(self, copies: Sequence[Copy]) -> None:
        super().__init__()
        self._copies = copies

    def fitting(self, text: str) -> Sequence[Option]:
        wanted = text.casefold()
        return [
            Option(
                Content.assemble((one_line(name), "bold"), (f"  {one_line(detail)}", "dim")),
                id=str(at),
            )
            for at, (name, _, detail) in enumerate(self._copies)
            if wanted in f"{name} {detail}".casefold()
        ]

    def pick(self, option_id: str) -> None:
        self.dismiss((self._copies[int(option_id)], False))

    def action_to_file(self) -> None:
        if self.highlighted:
            self.dismiss((self._copies[int(self.highlighted)], True))


class QueuePicker(Picker[QueuedPrompt | None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "send_again", "Send it again", priority=True),
        Binding("ctrl+x", "remove", "Remove it", priority=True),
        closing_binding("queue"),
    ]
    heading = "Prompts that wait"
    placeholder = "Find a prompt"
    key_hints = (
        ("enter", "edit"),
        ("^s", "send again"),
        ("^x", "remove"),
        ("^j ^k", "move"),
        ("esc", "close"),
    )

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._shown: dict[str, QueuedPrompt] = {}

    def fitting(self, text: str) -> Sequence[Option]:
        prompts = [
            queued for queued in self._session.queue.prompts if text.casefold() in queued.text.casefold()
        ]
        self._shown = {str(id(queued)): queued for queued in prompts}
        self.say("" if prompts else "Nothing found.")
        return [Option(self._line(queued), id=key) for key, queued in self._shown.items()]

    def pick(self, option_id: str) -> None:
        """Close the picker with the prompt, unless a lane has already begun to answer it."""
        queued = self._shown[option_id]
        if queued.prompt is not None:
            self.say(
                "A lane has begun this prompt: it can be removed from the other lanes, but not be edited."
            )
        else:
            self.dismiss(queued)

    def action_send_again(self) -> None:
        """Put the highlighted prompt, which a stop may have kept, back into the queue to wait for its lanes."""
        if (queued := self._highlighted) is not None:
            self._session.send_again([queued])
            self._show_or_close()

    def action_remove(self) -> None:
        if (queued := self._highlighted) is not None:
            self._session.queue.remove(queued)
            self._show_or_close()

    @property
    def _highlighted(self) -> QueuedPrompt | None:
        return self._shown.get(self.highlighted)

    def _show_or_close(self) -> None:
        if self._session.queue.prompts:
            self.show()
        else:
            self.dismiss()

    def _line(self, queued: QueuedPrompt) -> Content:
        state = "kept" if queued.is_kept else "waits"
        waiting = [lane.name for lane in self._session.lanes if lane.record in queued.lanes]
        lanes = "" if queued.for_all and queued.prompt is None else ", ".join(waiting)
        return Content.assemble((one_line(queued.text), "bold"), (f"  {state}  {one_line(lanes)}", "dim"))


class TurnTree(Picker[Run | None]):
    DEFAULT_CSS = "TurnTree OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"
    heading = "Turns and branches: ● is shown, ○ is on another branch"
    placeholder = "Find a prompt or an answer"
    key_hints = (("enter", "go to the turn"), ("^j ^k", "move"), ("esc", "close"))

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self._lane = lane
        self._turns = {run.id: (run, branches) for run, branches in tree(lane)}

    def fitting(self, text: str) -> Sequence[Option]:
        wanted = text.casefold()
        return [
            Option(self._line(run, branches), id=run_id)
            for run_id, (run, branches) in self._turns.items()
            if wanted in f"{_prompt(run)} {run.text}".casefold()
        ]

    def pick(self, option_id: str) -> None:
        self.dismiss(self._turns[option_id][0])

    def on_mount(self) -> None:
        super().on_mount()
        shown = [at for at, (run, _) in enumerate(self._turns.values()) if run in self._lane.path]
        self.options.highlighted = shown[-1] if shown else 0

    def _line(self, run: Run, branches: int) -> Content:
        is_shown, variants = self._lane.answer(run.prompt) is run, self._lane.variants(run)
        place = f"{variants.index(run) + 1}/{len(variants)} " if len(variants) > 1 else ""
        author = variant_origin(self._lane, run)
        return Content.assemble(
            f"{'  ' * branches}{'●' if is_shown else '○'} ",
            (place, "dim"),
            (one_line(_prompt(run)), "bold" if is_shown else ""),
            (f"  {one_line(run.text.strip())[:80]}", "dim"),
            (f"  {one_line(author)}" if author else "", "dim"),
        )


def _prompt(run: Run) -> str:
    return run.prompt.text.strip() if run.prompt is not None else ""
