"""The application of `paragone vote`: blind votes over an experiment, without lanes."""

from __future__ import annotations

import sys

from textual.screen import Screen

from paragone import ParagoneError
from paragone_tui.app import ParagoneApp
from paragone_tui.garbage import begin_collecting
from paragone_tui.painting.screen import ThriftyScreen
from paragone_tui.screens.vote.experiment import ExperimentVote
from paragone_tui.terminal.hangup import end_with_terminal
from paragone_workbench.config.settings import Config
from paragone_workbench.config.state import State
from paragone_workbench.engines.registry import Registry
from paragone_workbench.store.history import History

__all__ = ["VoteApp", "run_vote_screen"]


def run_vote_screen(*, config: Config, state: State, registry: Registry, experiment_id: int) -> int:
    """Run the application until the user quits, and return the exit code."""
    app = VoteApp(config=config, state=state, registry=registry, experiment_id=experiment_id)
    end_with_terminal(0)
    app.run()
    for sentence in app.exit_messages:
        sys.stderr.write(f"paragone: {sentence}\n")
    return app.return_code or 0


class VoteApp(ParagoneApp):
    """Shows the ballots of one experiment, and ends after them."""

    def __init__(self, *, config: Config, state: State, registry: Registry, experiment_id: int) -> None:
        super().__init__(
            config=config, state=state, registry=registry, definitions=(), mode="parallel", system=""
        )
        self._remembers = False
        self._experiment_id = experiment_id

    def get_default_screen(self) -> Screen[None]:
        """Create and return an empty screen, which the ballots cover."""
        super().get_default_screen()
        return ThriftyScreen()

    def _begin_work(self) -> None:
        begin_collecting()
        self.run_worker(self._open(), group="work")

    async def _open(self) -> None:
        try:
            history = self._history.history = await History.open()
        except ParagoneError as error:
            self.exit_messages.append(str(error))
            self.exit(return_code=error.exit_code)
        else:
            self.push_screen(ExperimentVote(history, self._experiment_id), lambda _: self.exit())
