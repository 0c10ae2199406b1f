"""Commands on prompts: send, edit, recall, and switch between variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.widget import Widget

    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_tui.screens.lanes.commands.engines import EngineCommands
    from paragone_tui.screens.lanes.commands.votes import VoteCommands
    from paragone_tui.screens.lanes.composer import Composer
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane

__all__ = ["PromptCommands"]


class PromptCommands:
    """Sends and edits prompts, and shows the variants of answers and prompts."""

    def __init__(
        self,
        context: LanesContext,
        composer: Composer,
        votes: VoteCommands,
        engines: EngineCommands,
        focus: Callable[[Widget], None],
    ) -> None:
        """Create the commands. `focus` gives the focus to a widget before the next key."""
        self._context = context
        self._session = context.session
        self._composer = composer
        self._votes = votes
        self._engines = engines
        self._focus = focus

    def send(self) -> None:
        """Send the prompt to all lanes; busy ones queue it. If an earlier prompt is edited, send the edit."""
        self._send(self._session.lanes, to_all=True)

    def send_to_lane(self) -> None:
        """Send the prompt only to the current lane, unless it is an edit of an earlier prompt."""
        if column := self._context.current_or_say():
            self._send([column.lane], to_all=False)

    def _send(self, lanes: Sequence[Lane], *, to_all: bool) -> None:
        if not self._composer.text.strip():
            return
        if self._engines.demo_is_coming and not lanes:
            self._engines.after_demo(self.send)
            self._context.say("The prompt is sent once the demo's engines are there.")
            return
        if not any(self._session.can_answer(lane) for lane in lanes):
            self._context.say(
                f"No engine is running; {self._context.key_of('restart-engine')} starts one again, "
                f"{self._context.key_of('add-lane')} adds another."
            )
            return
        edited = self._composer.edited
        if not self._votes.blind or (edited is None and not to_all):
            self._ask(lanes, to_all=to_all)
        elif self._votes.can_vote(edited):
            self._votes.open_ballot(lambda: self._ask(lanes, to_all=to_all))

    def _ask(self, lanes: Sequence[Lane], *, to_all: bool) -> Prompt | None:
        """Send what the composer has, and return the prompt; None if it was not sent."""
        if self._composer.edited is not None:
            return self._send_edited(self._composer.edited)
        text, images = self._composer.take()
        return self._session.send(text, images, lanes=None if to_all else lanes)

    def _send_edited(self, prompt: Prompt) -> Prompt | None:
        if self._context.is_answering(
            lane for lane in self._session.lanes if lane.answer(prompt) is not None
        ):
            return None
        edited = self._session.edit(prompt, self._composer.text, self._composer.images)
        if edited is None:
            self._context.say(
                f"No engine is running; {self._context.key_of('restart-engine')} starts one again."
            )
            return None
        self._composer.take()
        self._context.lanes.show_history()
        return edited

    def edit_prompt(self) -> None:
        """Edit the last prompt of the current lane; if that is being edited, the one before, and so on."""
        column = self._context.current_or_say()
        if column is None:
            return
        prompts = [run.prompt for run in column.lane.path if run.prompt is not None]
        if not prompts:
            self._context.say("There is no prompt yet.")
            return
        self.write()
        edited = self._composer.edited
        at = prompts.index(edited) - 1 if edited in prompts else len(prompts) - 1
        self._composer.edit_prompt(prompts[max(at, 0)])

    def previous_variant(self) -> None:
        """Show the previous variant in the current lane."""
        self._step(-1)

    def next_variant(self) -> None:
        """Show the next variant in the current lane."""
        self._step(1)

    def _step(self, by: int) -> None:
        column = self._context.current_or_say()
        if column is None or self._context.lane_is_answering(column.lane):
            return
        if self._session.step(column.lane, by):
            column.show_history()
        else:
            self._context.say(
                f"There are no variants in this lane; {self._context.key_of('regenerate')} answers again, "
                f"{self._context.key_of('edit-prompt')} edits a prompt."
            )

    def lane_mode(self) -> None:
        """Go to the current lane, where single letters are commands."""
        self._focus(self._context.lanes)

    def write(self) -> None:
        """Return to the prompt."""
        self._focus(self._composer)

    def newline(self) -> None:
        """Insert a line break into the prompt."""
        self.write()
        self._composer.insert("\n")

    def attach_image(self) -> None:
        """Let the user attach an image to the prompt, or remove one."""
        from paragone_tui.screens.image_picker import ImagePicker

        self.write()
        composer = self._composer
        self._context.show(
            ImagePicker(composer.images),
            lambda picked: composer.attach(picked) if picked is not None else None,
        )

    def recall_earlier(self) -> None:
        """Recall an earlier prompt into the composer."""
        self.write()
        self._composer.recall([prompt.text for prompt in self._session.prompts], -1)

    def recall_later(self) -> None:
        """Recall a later prompt into the composer."""
        self.write()
        self._composer.recall([prompt.text for prompt in self._session.prompts], 1)
