"""Actions on prompts: send, edit, recall, and switch between variants."""

from __future__ import annotations

from collections.abc import Sequence

from paragone_tui.screens.lanes.vote_actions import VoteActions
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.lanes.lane import Lane

__all__ = ["PromptActions"]


class PromptActions(VoteActions):
    """Adds the actions on prompts and their variants to the screen."""

    def action_send(self) -> None:
        """Send the prompt to all lanes; busy ones queue it. If an earlier prompt is edited, send the edit."""
        self._send(self.session.lanes, to_all=True)

    def action_send_to_lane(self) -> None:
        """Send the prompt only to the current lane, unless it is an edit of an earlier prompt."""
        if column := self.current_or_say():
            self._send([column.lane], to_all=False)

    def _send(self, lanes: Sequence[Lane], *, to_all: bool) -> None:
        if not self.composer.text.strip():
            return
        if self.demo_is_coming and not lanes:
            self.sends_to_demo = True
            self.app.say("The prompt is sent once the demo's engines are there.")
            return
        if not any(self.session.can_answer(lane) for lane in lanes):
            self.app.say(
                f"No engine is running; {self.key_of('restart-engine')} starts one again, "
                f"{self.key_of('add-lane')} adds another."
            )
            return
        edited = self.composer.edited
        if not self.blind or (edited is None and not to_all):
            self._ask(lanes, to_all=to_all)
        elif self.can_vote(edited):
            self.open_ballot(lambda: self._ask(lanes, to_all=to_all))

    def _ask(self, lanes: Sequence[Lane], *, to_all: bool) -> Prompt | None:
        """Send what the composer has, and return the prompt; None if it was not sent."""
        if self.composer.edited is not None:
            return self._send_edited(self.composer.edited)
        text, images = self.composer.take()
        return self.session.send(text, images, lanes=None if to_all else lanes)

    def _send_edited(self, prompt: Prompt) -> Prompt | None:
        if self.is_answering(lane for lane in self.session.lanes if lane.answer(prompt) is not None):
            return None
        edited = self.session.edit(prompt, self.composer.text, self.composer.images)
        if edited is None:
            self.app.say(f"No engine is running; {self.key_of('restart-engine')} starts one again.")
            return None
        self.composer.take()
        for column in self.columns:
            column.show_history()
        return edited

    def action_edit_prompt(self) -> None:
        """Edit the last prompt of the current lane; if that is being edited, the one before, and so on."""
        column = self.current_or_say()
        if column is None:
            return
        prompts = [run.prompt for run in column.lane.path if run.prompt is not None]
        if not prompts:
            self.app.say("There is no prompt yet.")
            return
        self.write()
        edited = self.composer.edited
        at = prompts.index(edited) - 1 if edited in prompts else len(prompts) - 1
        self.composer.edit_prompt(prompts[max(at, 0)])

    def action_previous_variant(self) -> None:
        """Show the previous variant in the current lane."""
        self._step(-1)

    def action_next_variant(self) -> None:
        """Show the next variant in the current lane."""
        self._step(1)

    def _step(self, by: int) -> None:
        column = self.current_or_say()
        if column is None or self.lane_is_answering(column.lane):
            return
        if self.session.step(column.lane, by):
            column.show_history()
        else:
            self.app.say(
                f"There are no variants in this lane; {self.key_of('regenerate')} answers again, "
                f"{self.key_of('edit-prompt')} edits a prompt."
            )

    def action_lane_mode(self) -> None:
        """Go to the current lane, where single letters are commands."""
        self.set_focus(self.lanes)

    def action_write(self) -> None:
        """Return to the prompt."""
        self.write()

    def action_newline(self) -> None:
        """Insert a line break into the prompt."""
        self.write()
        self.composer.insert("\n")

    def action_attach_image(self) -> None:
        """Let the user attach an image to the prompt, or remove one."""
        self.write()
        self.app.pick_images(self.composer.images, self.composer.attach)

    def action_recall_earlier(self) -> None:
        """Recall an earlier prompt into the composer."""
        self.write()
        self.composer.recall([prompt.text for prompt in self.session.prompts], -1)

    def action_recall_later(self) -> None:
        """Recall a later prompt into the composer."""
        self.write()
        self.composer.recall([prompt.text for prompt in self.session.prompts], 1)
