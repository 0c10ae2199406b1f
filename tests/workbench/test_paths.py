import stat
import subprocess
import sys

import pytest

from paragone import ParagoneError
from paragone_workbench import paths
from paragone_workbench.engines.definitions import expand_home

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="XDG is Linux's")


def test_every_folder_follows_its_xdg_variable(home):
    assert paths.config_file() == home / "config/paragone/config.toml"
    assert paths.state_file() == home / "state/paragone/state.toml"
    assert paths.history_file() == home / "data/paragone/history.db"
    assert paths.cache_folder() == home.with_name(f"{home.name}-cache") / "paragone"
    assert home / "state/paragone" in paths.log_folder().parents


def test_without_the_variables_the_folders_have_their_defaults(home, monkeypatch):
    for kind in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.delenv(f"XDG_{kind}_HOME")
    assert paths.config_file() == home / ".config/paragone/config.toml"
    assert paths.data_folder() == home / ".local/share/paragone"


def test_a_private_folder_is_readable_only_by_its_owner(tmp_path):
    folder = paths.private_folder(tmp_path / "a/b/c")
    for made in (folder, folder.parent, folder.parent.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_file_in_place_of_a_folder_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParagoneError, match="cannot be created"):
        paths.private_folder(tmp_path / "file/folder")


def test_importing_the_packages_loads_nothing_heavy():
    modules = ("paths", "engines.definitions", "config.read", "runs.metrics", "store")
    code = (
        "import sys; "
        + "".join(f"import paragone_workbench.{module}; " for module in modules)
        + "print({'msgspec', 'platformdirs', 'sqlite3', 'tomllib', 'tomli_w', 'pluggy', 'asyncio'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_any_path_can_be_tested_for_existence(tmp_path):
    (tmp_path / "a").touch()
    assert paths.accessible(tmp_path / "a")
    assert not any(map(paths.accessible, (tmp_path / "b", tmp_path / "a" / "b", "n" * 6000, "a\0b")))
    assert expand_home("~nobody-here/x") == "~nobody-here/x"
