"""Commands that consist of one call: scroll, select a lane or a turn, switch variants, recall and edit prompts, fold texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from paragone_tui.screens.lanes.commands.prompts import recall, step, write
from paragone_tui.screens.lanes.commands.turns import select

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext
    from paragone_tui.screens.lanes.prompt.composer import Composer
    from paragone_tui.transcript import Transcript


def simple_commands(context: LanesContext) -> dict[str, Callable[[], None]]:
    """Return the functions that execute the commands, by the ids of the commands."""
    lanes = context.lanes

    def scroll(by: Callable[[Transcript], None]) -> Callable[[], None]:
        """Scroll the current lane and the lanes that are linked with it."""
        return lambda: by(lanes.current.transcript) if lanes.current is not None else None

    def in_prompt(edit: Callable[[Composer], object]) -> Callable[[], None]:
        """Move the focus to the prompt, and edit the prompt."""

        def run() -> None:
            write(context)
            edit(context.composer)

        return run

    def toggle_logs() -> None:
        if not lanes.toggle_logs():
            context.composer.unfold()

    def lane_mode() -> None:
        """Leave the prompt. If a list of files is open at the prompt, close the list instead."""
        if context.composer.completion.is_open:
            context.composer.completion.close()
        else:
            lanes.screen.set_focus(lanes)

    return {
        "lane-mode": lane_mode,
        "newline": in_prompt(lambda composer: composer.insert("\n")),
        "word-back": in_prompt(lambda composer: composer.action_cursor_word_left()),
        "word-forward": in_prompt(lambda composer: composer.action_cursor_word_right()),
        "delete-word": in_prompt(lambda composer: composer.action_delete_word_right()),
        "next-lane": lambda: lanes.move(1),
        "previous-lane": lambda: lanes.move(-1),
        "toggle-thinking": lanes.toggle_thinking,
        "toggle-logs": toggle_logs,
        "previous-variant": lambda: step(context, -1),
        "next-variant": lambda: step(context, 1),
        "previous-turn": lambda: select(context, -1),
        "next-turn": lambda: select(context, 1),
        "recall-earlier": lambda: recall(context, -1),
        "recall-later": lambda: recall(context, 1),
        "scroll-down": scroll(lambda transcript: transcript.scroll_rows(1)),
        "scroll-up": scroll(lambda transcript: transcript.scroll_rows(-1)),
        "half-page-down": scroll(lambda transcript: transcript.scroll_pages(0.5)),
        "half-page-up": scroll(lambda transcript: transcript.scroll_pages(-0.5)),
        "page-down": scroll(lambda transcript: transcript.scroll_pages(1)),
        "page-up": scroll(lambda transcript: transcript.scroll_pages(-1)),
        "to-start": scroll(lambda transcript: transcript.to_start()),
        "to-end": scroll(lambda transcript: transcript.to_end()),
    }
