"""The screen of a choice: a form, then the progress of the measurements, then the decision."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.getters import query_one
from textual.widget import Widget
from textual.widgets import Checkbox, Static

from paragone import ParagoneError
from paragone.threads import in_daemon_thread
from paragone_tui.screens.choose.progress_text import ProgressText
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.form import Form, FormField

if TYPE_CHECKING:
    from paragone_workbench.choosing.choice import Choice
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.store.history import History

_FIELDS = (
    FormField("suite", "Suite", "a file of prompts with assertions; empty: paragone's 120"),
    FormField("vram", "GPUs", "such as 24G or 24G,24G; empty: this machine"),
    FormField("time", "Time", "such as 10m; empty: as long as it takes"),
    FormField("margin", "Margin", "points of the pass rate that may be lost; empty: 3"),
)


class _EngineBox(Checkbox, inherit_bindings=False):
    """A check box for an engine. Enter starts the measurements, also while a check box has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "toggle_button", "Tick", show=False)]

    def render(self) -> Content:
        """Return the box, with a cross if ticked: without colours, Textual's own box looks the same ticked or not."""
        self.BUTTON_INNER = "X" if self.value else " "
        return super().render()


class ChooseScreen(Form[None]):
    """Measures the ticked engines, and shows which of them to deploy."""

    AUTO_FOCUS = "Checkbox"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Measure"),
        Binding("r", "report", "Write the report"),
    ]
    DEFAULT_CSS = """
    ChooseScreen {
        Checkbox { border: none; height: 1; width: 100%; padding: 0; background: $surface; }
        #result { height: auto; max-height: 100%; scrollbar-size-vertical: 1; display: none; }
    }
    """
    HELP = "Choosing an engine"

    result = query_one("#result", VerticalScroll)

    def __init__(
        self,
        engines: Sequence[EngineDefinition],
        ticked: frozenset[str],
        *,
        history: History,
        registry: Registry,
        system: str,
    ) -> None:
        """Create the form for these engines. At first, the engines with the names in `ticked` are ticked."""
        super().__init__("Which engine should I deploy?", _FIELDS)
        self._engines = engines
        self._ticked = ticked
        self._history = history
        self._registry = registry
        self._system = system
        self._choice: Choice | None = None
        self._is_measuring = False
        # Importing the statistics takes seconds, so a thread imports them while the user fills in the form.
        self._imported = in_daemon_thread(_import_choosing)

    def above(self) -> Iterator[Widget]:
        """Yield a check box for each engine."""
        for engine in self._engines:
            yield _EngineBox(visible(one_line(engine.name)), engine.name in self._ticked, compact=True)

    def below(self) -> Iterator[Widget]:
        """Yield the area for the decision."""
        yield VerticalScroll(Static(id="decision", markup=False), id="result")

    def on_mount(self) -> None:
        """Show the keys at the lower edge."""
        self._show_keys()

    # The form

    def action_submit(self) -> None:
        """Begin to measure, or continue with the measurements that are missing."""
        if not self._is_measuring:
            self._is_measuring = True
            self._choice = None
            self.result.display = False
            self.run_worker(self._measure())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether an action is possible at present, so that Textual offers its key."""
        del parameters
        if action == "report":
            return self._choice is not None and not self._is_measuring
        return not (action == "submit" and (self._is_measuring or self._is_complete))

    @property
    def _is_complete(self) -> bool:
        """Whether the decision is shown, and no measurement is missing."""
        return self._choice is not None and not self._choice.missing()

    def action_cancel(self) -> None:
        """Stop the measurements and show the decision. If nothing is measured at present, close the screen."""
        if self._is_measuring and self._choice is not None:
            self.say("Stopping. What was measured is kept.")
            self.run_worker(self._choice.stop())
        else:
            super().action_cancel()

    def _checked_choice(self) -> tuple[Choice, float]:
        """Return a choice with the values of the form, and the margin as a share. Blocks. Raises InputError."""
        from paragone_tui.screens.choose.checked_choice import checked_choice

        boxes = zip(self._engines, self.query(_EngineBox), strict=True)
        return checked_choice(
            [engine for engine, box in boxes if box.value],
            history=self._history,
            registry=self._registry,
            system=self._system,
            observer=ProgressText(self.say),
            **{name: value.strip() for name, value in self.values.items()},
        )

    # The measurements

    async def _measure(self) -> None:
        try:
            self.say("One moment.")
            await asyncio.wrap_future(self._imported)
            choice, margin = await asyncio.wrap_future(in_daemon_thread(self._checked_choice))
        except ParagoneError as error:
            self._is_measuring = False
            self.form.display = True
            self.say(str(error), error=True)
            return
        self.form.display = False
        self._choice = choice
        self._show_keys()
        try:
            await choice.measure()
            await self._show_decision(choice, margin)
        except ParagoneError as error:
            self._choice = None
            self.form.display = True
            self.say(str(error), error=True)
        finally:
            await choice.close()
            choice.catalog.close()
            self._is_measuring = False
            self._show_keys()

    async def _show_decision(self, choice: Choice, margin: float) -> None:
        from paragone_tui.screens.choose.decision_text import decision_text

        decision, figures, _ = await choice.decision(margin)
        self.remark.display = False
        self.result.display = True
        self.query_one("#decision", Static).update(decision_text(decision, figures, choice))
        self.result.focus()

    def action_report(self) -> None:
        """Write the report into the current folder."""
        if self._choice is not None and self._choice.experiment is not None and not self._is_measuring:
            self.run_worker(self._write_report(self._choice.experiment.number))

    async def _write_report(self, number: int) -> None:
        path = Path(f"paragone-e{number}.html").absolute()
        try:
            await asyncio.to_thread(_write, number, path, self._registry)
        except ParagoneError as error:
            self.say(str(error), error=True)
        else:
            self.say(f"The report is {path}.")

    # Key hints

    def _show_keys(self) -> None:
        if self.leaving or not self.is_attached:
            return
        if self._choice is None:
            keys = [("space", "tick"), ("↑ ↓", "move"), ("enter", "measure"), ("esc", "cancel")]
        elif self._is_measuring:
            keys = [("esc", "stop and decide")]
        else:
            going_on = [] if self._is_complete else [("enter", "go on")]
            keys = [*going_on, ("r", "write the report"), ("↑ ↓", "scroll"), ("esc", "close")]
        self.show_keys(keys)


def _import_choosing() -> None:
    """Import the modules that a choice needs."""
    import paragone_workbench.choosing.choice
    import paragone_workbench.choosing.comparison  # noqa: F401


def _write(number: int, path: Path, registry: Registry) -> None:
    from contextlib import closing

    from paragone_workbench.exporting.report import write_report
    from paragone_workbench.store.store import Store

    with closing(Store.open()) as store:
        write_report(store, f"e{number}", path, registry.find, replaces=True)
