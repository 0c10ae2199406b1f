"""What the application says: messages, and errors that belong to no lane."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from textual.actions import ActionParseResult
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.worker import WorkerFailed

from paragone import ParagoneError
from paragone_tui.terminal.driver import TerminalDriver
from paragone_tui.textual_internals import OwnErrorsApp

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["ReportingApp"]


class ReportingApp(OwnErrorsApp):
    """An application that shows messages, and that an internal error does not end where it can go on."""

    def __init__(self) -> None:
        super().__init__(driver_class=TerminalDriver)
        self.exit_messages: list[str] = []
        """Messages to print after the screen is closed."""
        self.is_unmounted = False
        """Whether the widgets are gone."""

    def say(self, sentence: str, *, warning: bool = False) -> None:
        """Show a message, for 4 seconds; a warning for 10."""
        self.notify(
            sentence,
            severity="warning" if warning else "information",
            timeout=10 if warning else 4,
            markup=False,
        )

    def complain(self, error: ParagoneError) -> None:
        """Show an error that belongs to no lane; at exit, keep it to print once the screen is closed."""
        if self.is_leaving:
            self.exit_messages.append(str(error))
            return
        self.notify(str(error), severity="error", timeout=12, markup=False)

    @property
    def is_leaving(self) -> bool:
        """Whether the program is about to end; the widgets may be gone."""
        return self.is_exiting or self.is_unmounted

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run an action, and return whether there was one. What it raises is reported; it would end the program."""
        try:
            return await super().run_action(action, default_namespace, namespaces)
        except Exception as error:  # noqa: BLE001 (the outermost edge of what a key does)
            self.report_internal_error(asyncio.get_running_loop(), {"exception": error})
            return True

    def report_internal_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report an unhandled exception of an observer or a background task. The program continues."""
        from paragone_workbench.engines.logs import crash_report

        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if error else str(context.get("message"))
        self.say(f"An internal error occurred, and the program continues; {crash_report(text)}", warning=True)

    def goes_on_after(self, error: Exception) -> bool:
        """Report what a Textual worker raises, as what a task raises; Textual would end the program.

        A dialog that is opened during shutdown never gets its widgets; a failed query for them is ignored.
        """
        if isinstance(error, WorkerFailed):
            self.report_internal_error(asyncio.get_running_loop(), {"exception": error.error})
            return True
        return isinstance(error, NoMatches) and self.is_exiting

    def last_words(self) -> Text:
        """Return a short message; the traceback goes to a file, for a bug report."""
        from rich.text import Text

        from paragone_workbench.engines.logs import crash_report

        report = crash_report(traceback.format_exc())
        return Text(f"paragone: An internal error ended the program. Conversations are saved; {report}")
