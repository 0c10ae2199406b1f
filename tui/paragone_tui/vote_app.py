"""The application of `paragone vote`: blind votes on the answers of an experiment, without lanes."""

from textual.screen import Screen

from paragone import ParagoneError
from paragone_tui.program_app import ProgramApp
from paragone_tui.screens.vote import ExperimentVote
from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen
from paragone_workbench.config.settings import Config
from paragone_workbench.config.state import State
from paragone_workbench.store.history import History


class VoteApp(ProgramApp):
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
