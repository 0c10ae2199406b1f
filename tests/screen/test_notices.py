"""Messages: whole in the rule above the prompt or at the foot, not over dialogs, and gone with their cause."""

import os

import pytest
from rogue_backend.definitions import rogue
from textual import events
from textual.widgets._toast import Toast

from paragone_tui.app import ParagoneApp
from paragone_tui.screens.lanes.lanes_screen import LanesScreen

LONG = " ".join(f"word{number}" for number in range(30)) + " end."


def say(screen, message: str) -> None:
    screen.app.notify(message, timeout=600, markup=False)


def shown(screen) -> str:
    """The last rows, without line breaks."""
    return " ".join(" ".join(screen.text.splitlines()[-6:]).split())


async def test_a_message_is_shown_completely_in_one_place(start):
    async with start(rogue("steady"), size=(80, 24)) as screen:
        say(screen, "A short one.")
        await screen.until(lambda: "─ A short one. ─" in screen.text)
        say(screen, LONG)
        await screen.until(lambda: LONG in shown(screen))
        composer = screen.app.lanes.composer
        assert composer.border_title is None
        screen.app.clear_notifications()
        await screen.until(lambda: "enter send" in screen.text)
        message = LONG[:59]
        say(screen, message)
        await screen.until(lambda: f"─ {message} ─" in screen.text)
        composer.show_note("a note about what is written")
        await screen.until(lambda: message in shown(screen), "the rule is too short for both")
        composer.show_note("")
        await screen.until(lambda: f"─ {message} ─" in screen.text)
        await screen.pilot.resize_terminal(50, 24)
        await screen.until(lambda: message in shown(screen))


async def test_earlier_messages_do_not_cover_a_dialog(start):
    async with start(rogue("steady"), toasts=True) as screen:
        say(screen, "Said before.")
        await screen.until(lambda: "Said before." in screen.text)
        await screen.press("f1")
        await screen.until(lambda: not isinstance(screen.app.screen, LanesScreen))
        say(screen, "Said here.")
        await screen.until(lambda: "Said here." in screen.text)
        assert [toast._notification.message for toast in screen.app.screen.query(Toast)] == ["Said here."]
        await screen.press("escape")
        await screen.until(lambda: isinstance(screen.app.screen, LanesScreen))


async def test_problems_at_the_start_are_shown_over_the_first_dialog(start):
    async with start(settings="[ui]\ntheme = 'mauve'\n", remembered=True, toasts=True) as screen:
        await screen.until(lambda: not isinstance(screen.app.screen, LanesScreen))
        await screen.until(
            lambda: "mauve" in " ".join(it._notification.message for it in screen.app.screen.query(Toast))
        )


async def test_messages_about_the_prompt_stay_as_long_as_their_cause(start, home, monkeypatch):
    monkeypatch.chdir(home)
    async with start(rogue("steady", max_tokens=1)) as screen:
        screen.app.post_message(events.Paste("line\n" * 30))
        await screen.until(lambda: "is folded" in screen.told)
        await screen.type("x")
        assert "is folded" in screen.told
        await screen.press("ctrl+u")
        await screen.until(lambda: "is folded" not in screen.told)
        await screen.type("read @missing.md ")
        await screen.until(lambda: "Not attached" in screen.told)
        await screen.type("now")
        assert "Not attached" in screen.told
        await screen.press("ctrl+u")
        await screen.until(lambda: "Not attached" not in screen.told)
        await screen.type("read @missing.md")
        await screen.press("enter")
        await screen.until(lambda: "Send again" in screen.told)
        await screen.press("enter")
        await screen.answered()
        assert "Not attached" not in screen.told


async def test_the_attachment_error_disappears_once_all_mentions_are_deleted(start, home, monkeypatch):
    monkeypatch.chdir(home)
    say = ParagoneApp.notify
    monkeypatch.setattr(ParagoneApp, "notify", lambda *given, **how: say(*given, **how | {"timeout": 600}))
    async with start(rogue("steady", max_tokens=1)) as screen:
        await screen.type("@one.md @two.md")
        await screen.press("enter")
        await screen.until(lambda: screen.told.count("Send again") == 2)
        await screen.press(*["backspace"] * len("@one.md @two.md"))
        await screen.until(lambda: not screen.told)


@pytest.mark.parametrize(("umask", "times"), [(0o022, 1), (0o077, 0)])
async def test_one_warning_is_shown_for_secrets_that_other_users_can_read(start, umask, times):
    settings = "[engines.far]\nbackend = 'ollama'\nmodel = 'm'\nkey_command = 'echo sk-secret'\n"
    before = os.umask(umask)  # the file is made when the screen starts
    try:
        async with start(rogue("steady"), settings=settings) as screen:
            await screen.ask("hello")
            await screen.answered()
            assert screen.told.count("sets key_command, and its mode 644 gives other users access") == times
            assert screen.told.count("chmod 600") == times
    finally:
        os.umask(before)
