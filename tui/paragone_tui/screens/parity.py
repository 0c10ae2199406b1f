"""The sheet of the conditions that differed between the lanes."""

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.getters import query_one
from textual.widgets import Static

from paragone_tui.commands import Do
from paragone_tui.keys import closing_binding
from paragone_tui.terminal.text import visible
from paragone_tui.widgets.modal import Sheet
from paragone_workbench.compare.parity import check_parity
from paragone_workbench.compare.parity_findings import Finding, Side, joined, sides_of
from paragone_workbench.engines.definitions import with_options
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.run import Run


def sides_of_answers(session: Session) -> list[Side]:
    """Return a side for each lane that answered the newest prompt which several lanes have answered. Lanes whose engine
    was replaced since then are skipped."""
    for prompt in reversed(session.prompts):
        answers = ((lane, lane.answer(prompt)) for lane in session.lanes)
        ended = [(lane.name, run) for lane, run in answers if run is not None and _is_comparable(lane, run)]
        if len(sides := sides_of(ended, session.registry.find)) > 1:
            return sides
    return []


def sides_of_open_engines(session: Session) -> list[Side]:
    engines = [(lane.name, lane.engine) for lane in session.lanes if lane.engine.loaded is not None]
    return [
        Side(name=name, definition=it.definition, backend=it.backend, loaded=it.loaded)
        for name, it in engines
    ]


def _is_comparable(lane: Lane, run: Run) -> bool:
    return run.phase == "ended" and run.result.definition.has_model_of(lane.engine.definition)


def _effect(finding: Finding) -> str:
    """Return a text with the settings that level a condition, such as `seed=1 in left`."""
    if finding.system:
        return f"the system prompt {finding.system!r} in all lanes"
    changes: dict[str, list[str]] = {}
    for change in finding.changes:
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
        sides = sides_of_answers(session)
        self._of_engines = not sides
        sides = sides or sides_of_open_engines(session)
        compared = [side.name for side in sides]
        self._left_out = [lane.name for lane in session.lanes if lane.name not in compared]
        """The names of lanes that have not answered yet, or whose engine was replaced after the answer."""
        self._several = len(compared) > 1
        self._parity = check_parity(sides)
        self._findings = (*self._parity.findings, *self._parity.unknown)
        self._levelled = [finding for finding in self._findings if finding.changes or finding.system]
        """The conditions that a number key can level."""
        self._asked: set[int] = set()
        """The numbers that were pressed once: a second press confirms that models are reloaded."""
        self._done: set[int] = set()

    def parts(self) -> Iterator[Text]:
        yield self._text()

    def action_level(self, number: int) -> None:
        """Level the condition with this number. If that reloads models, the first key press only announces the reload."""
        if number > len(self._levelled):
            return
        finding = self._levelled[number - 1]
        if finding.reloads and number not in self._asked:
            self._asked.add(number)
        elif number not in self._done:
            self._done.add(number)
            self._do(lambda: self._level(finding))
        self.content.update(self._text())

    async def _level(self, finding: Finding) -> None:
        if finding.system:
            self._session.system_prompt.change(finding.system)
        for lane in self._session.lanes:
            options = {
                change.option: change.value for change in finding.changes if change.engine == lane.name
            }
            if options:
                definition = with_options(lane.engine.definition, options, lane.engine.backend)
                await self._session.configure(lane, definition)

    def _text(self) -> Text:
        text = Text()
        if not self._several:
            return text.append("No comparison is possible: fewer than two lanes are open or have answered.")
        when = "Until there are answers" if self._session.prompts else "Before the first prompt"
        verdict = f"{when}: " if self._of_engines else ""
        text.append(f"{verdict}{self._parity.verdict}\n", style="bold")
        if self._left_out:
            text.append(f"Without {visible(joined(self._left_out))}: the engine has no answer to compare.\n")
        for finding in self._findings:
            style = "" if finding.is_alarm else "dim"
            text.append(f"\n{finding.sign} {visible(finding.sentence)}\n", style=style)
            if finding in self._levelled:
                text.append_text(self._remedy(self._levelled.index(finding) + 1, finding))
        if self._parity.remark:
            text.append(f"\n{self._parity.remark}\n", style="dim")
        text.rstrip()
        return text

    def _remedy(self, number: int, finding: Finding) -> Text:
        effect, reloads = visible(_effect(finding)), finding.reloads
        if number in self._done:
            return Text(f"  ✓ set {effect}; it applies to the next prompt\n", style="italic")
        if number in self._asked:
            what = f"again reloads {visible(joined(reloads))} and stops its answer"
        else:
            what = f"sets {effect}{', which reloads the model' if reloads else ''}"
        return Text.assemble((f"  {number} ", "bold"), f"{what}\n")
