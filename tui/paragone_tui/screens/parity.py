"""The sheet of the conditions that differed between the lanes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.getters import query_one
from textual.widgets import Static

from paragone_tui.commands import Do
from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import visible
from paragone_tui.widgets.modal import Sheet
from paragone_workbench.compare.parity import check_parity
from paragone_workbench.compare.parity_findings import Finding, Parity, Side, joined, sides_of
from paragone_workbench.engines.definitions import with_options
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.run import Run


def answered_sides(session: Session) -> list[Side]:
    """Return a side for each lane that answered the newest prompt which several lanes have answered.

    Lanes whose engine was replaced since then are left out.
    """
    for prompt in reversed(session.prompts):
        answers = ((lane, lane.answer(prompt)) for lane in session.lanes)
        ended = [(lane.name, run) for lane, run in answers if run is not None and _is_comparable(lane, run)]
        if len(sides := sides_of(ended, session.registry.find)) > 1:
            return sides
    return []


def open_sides(session: Session) -> list[Side]:
    """Return a side without an answer for each lane whose engine is open."""
    engines = [(lane.name, lane.engine) for lane in session.lanes if lane.engine.loaded is not None]
    return [
        Side(name=name, definition=it.definition, backend=it.backend, loaded=it.loaded)
        for name, it in engines
    ]


def _is_comparable(lane: Lane, run: Run) -> bool:
    return run.phase == "ended" and run.result.definition.has_model_of(lane.engine.definition)


@dataclass(slots=True, kw_only=True, eq=False)
class _Remedy:
    finding: Finding
    state: Literal["offered", "asked", "done"] = "offered"
    """`asked`: the user pressed the key once, and a second press confirms that models are reloaded."""

    @property
    def effect(self) -> str:
        """A text with the settings that the remedy sets, such as `seed=1 in left`."""
        if self.finding.system:
            return f"the system prompt {self.finding.system!r} in all lanes"
        changes: dict[str, list[str]] = {}
        for change in self.finding.changes:
            changes.setdefault(change.assignment, []).append(change.engine)
        return ", ".join(f"{setting} in {joined(lanes)}" for setting, lanes in changes.items())


class ParitySheet(Sheet):
    """Shows the parity of the lanes' last answers, or of their engines before the first prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [
        closing_binding("parity"),
        *(Binding(str(number), f"level({number})", "Level", show=False) for number in range(1, 10)),
    ]

    heading = "Was it fair?"
    content = query_one("#sheet Static", Static)

    def __init__(self, session: Session, do: Do) -> None:
        super().__init__()
        self._session = session
        self._do = do
        sides = answered_sides(session)
        self._before = not sides
        sides = sides or open_sides(session)
        compared = [side.name for side in sides]
        self._left_out = [lane.name for lane in session.lanes if lane.name not in compared]
        """The names of lanes that have not answered yet, or whose engine was replaced after the answer."""
        self._several = len(compared) > 1
        self._parity = check_parity(sides)
        self._lines = list(_lines(self._parity))
        self._remedies = [remedy for _, _, remedy in self._lines if remedy is not None]

    def parts(self) -> Iterator[Text]:
        yield self._text()

    def action_level(self, number: int) -> None:
        """Apply the remedy with this number. If the remedy reloads models, the first key press only announces the reload."""
        if number > len(self._remedies):
            return
        remedy = self._remedies[number - 1]
        if remedy.finding.reloads and remedy.state == "offered":
            remedy.state = "asked"
        elif remedy.state != "done":
            remedy.state = "done"
            self._do(lambda: self._level(remedy))
        self.content.update(self._text())

    async def _level(self, remedy: _Remedy) -> None:
        if remedy.finding.system:
            self._session.system_prompt.change(remedy.finding.system)
        for lane in self._session.lanes:
            options = {it.option: it.value for it in remedy.finding.changes if it.engine == lane.name}
            if options:
                definition = with_options(lane.engine.definition, options, lane.engine.backend)
                await self._session.configure(lane, definition)

    def _text(self) -> Text:
        text = Text()
        if not self._several:
            return text.append("There is nothing to compare: fewer than two lanes are open or have answered.")
        verdict = "Before the first prompt: " if self._before else ""
        text.append(f"{verdict}{self._parity.verdict}\n", style="bold")
        if self._left_out:
            text.append(f"Without {visible(joined(self._left_out))}: no answer of the engine to compare.\n")
        for sentence, style, remedy in self._lines:
            text.append(f"\n{sentence}\n", style=style)
            if remedy is not None:
                _append_remedy(text, self._remedies.index(remedy) + 1, remedy)
        if self._parity.remark:
            text.append(f"\n{self._parity.remark}\n", style="dim")
        text.rstrip()
        return text


def _append_remedy(text: Text, number: int, remedy: _Remedy) -> None:
    effect = visible(remedy.effect)
    reloads = visible(joined(remedy.finding.reloads))
    match remedy.state:
        case "offered":
            text.append(f"  {number} ", style="bold")
            text.append(f"sets {effect}{', which reloads the model' if reloads else ''}\n")
        case "asked":
            text.append(f"  {number} ", style="bold")
            text.append(f"again reloads {reloads} and stops its answer\n")
        case "done":
            text.append(f"  ✓ set {effect}; it applies to the next prompt\n", style="italic")


def _lines(parity: Parity) -> Iterator[tuple[str, str, _Remedy | None]]:
    """Yield a line for each difference and each unknown condition: its sentence, its style, and its remedy or None."""
    for finding in (*parity.findings, *parity.unknown):
        offered = _Remedy(finding=finding) if finding.changes or finding.system else None
        yield f"{finding.sign} {visible(finding.sentence)}", "" if finding.is_alarm else "dim", offered
