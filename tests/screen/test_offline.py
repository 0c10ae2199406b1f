"""Offline on the screen: the key, the corner, the engines that are closed."""

import pytest
from rogue_backend.definitions import rogue

from paragone.network import GUARD


@pytest.fixture(autouse=True)
def keep_connections(monkeypatch):
    """Keep the connections of the tests' own process, which going offline would cut."""
    monkeypatch.setattr("paragone.network.cut_connections", lambda *, spares_loopback: None)


def networked():
    return rogue("steady", "networked", peers=["127.0.0.1:50052"])


def corner(screen):
    foot = screen.app.screen.query_one("#keys").region.y
    return screen.text.splitlines()[foot].replace(" LANE ", "").split()[0]


async def test_a_key_or_the_palette_goes_offline_and_the_corner_shows_it(start):
    async with start(rogue("steady")) as screen:
        await screen.until(lambda: screen.lanes[0].engine.is_open)
        assert corner(screen) != "offline"
        await screen.press("alt+O")
        await screen.until(lambda: corner(screen) == "offline")
        assert GUARD.is_offline
        assert "with --offline the system does" in screen.told
        assert screen.lanes[0].engine.is_open, "a local engine has no network anyway"
        await screen.press("alt+O")
        await screen.until(lambda: "Online" in screen.told)
        assert not GUARD.is_offline
        assert "offline" not in screen.text.splitlines()[-1]
        await screen.press("ctrl+p")
        await screen.type("offline")
        await screen.until(lambda: "Offline or online" in screen.text and "  O  " in screen.text)
        await screen.press("enter")
        await screen.until(lambda: corner(screen) == "offline")
        screen.app.notify("a long message " * 12 + "finished", timeout=600)
        await screen.until(lambda: "finished" in screen.text)
        assert corner(screen) == "offline", "a message at the foot leaves the word in the corner"
        GUARD.is_offline, GUARD.layer = True, "seccomp"
        await screen.press("alt+O")
        await screen.until(lambda: "seccomp closes the network, which cannot be undone" in screen.told)
        assert GUARD.is_offline


async def test_going_offline_closes_an_engine_with_network_access_and_explains_why(start):
    async with start(rogue("steady"), networked()) as screen:
        await screen.until(lambda: all(lane.engine.is_open for lane in screen.lanes))
        await screen.press("alt+O")
        await screen.until(lambda: screen.lanes[1].engine.state == "failed")
        assert "it does not contact 127.0.0.1:50052, the address of networked" in str(
            screen.lanes[1].engine.error
        )
        assert screen.lanes[0].engine.is_open
        await screen.press("alt+O", "alt+O")
        await screen.until(lambda: GUARD.is_offline)
        assert [block.kind for block in screen.columns[1].transcript.blocks] == ["error"], "told once"
        await screen.press("alt+O", "f7")
        await screen.until(lambda: screen.lanes[1].engine.is_open)


async def test_servers_on_this_machine_are_asked_only_after_a_key(start, monkeypatch):
    asked = []

    async def models(self, folders):
        asked.append(folders)
        return ()

    monkeypatch.setattr("paragone_remote.backend.OllamaBackend.models", models)
    async with start() as screen:
        await screen.until(
            lambda: screen.text.count("Its server on this machine was not asked.") == 2,
            "Ollama, Scripted server",
        )
        assert not asked
        await screen.press("ctrl+s")
        await screen.until(lambda: "Ollama" in screen.text and "not asked" not in screen.text)
        assert len(asked) == 1
        await screen.press("escape", "alt+O", "f3")
        await screen.until(lambda: "a server: write ollama:" in screen.text)
        assert "ask local servers" not in screen.text
        await screen.press("ctrl+s")
        assert len(asked) == 1


async def test_the_corner_of_a_vote_shows_offline_too(start):
    async with start(rogue("steady", "one"), rogue("wide", "two")) as screen:
        await screen.press("alt+u")
        await screen.ask("hello")
        await screen.until(lambda: "Which answer is better?" in screen.text)
        await screen.press("O")
        await screen.until(lambda: corner(screen) == "offline")
        await screen.press("O")
        await screen.until(lambda: corner(screen) != "offline")
