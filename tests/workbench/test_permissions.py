"""Warnings about config files with keys that other users can read."""

import stat

import pytest

from paragone_workbench.config.read import init
from paragone_workbench.config.settings import permission_warning
from paragone_workbench.config.toml_file import read_toml
from paragone_workbench.engines.registry import Registry

TABLE = '[engines.a]\nbackend = "ollama"\nmodel = "m"\n'


@pytest.fixture
def write(tmp_path):
    def write(text, mode):
        path = tmp_path / "my config.toml"
        path.write_text(TABLE + text)
        path.chmod(mode)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "mode"),
    [("headers = ['X-Title: red']\n", 0o600), ("key_env = 'KEY'\n", 0o644)],
)
def test_files_without_a_warning(write, text, mode):
    assert permission_warning(read_toml(write(text, mode)), Registry().find) == ""


def test_a_new_file_is_private(tmp_path):
    path = init(tmp_path / "config" / "config.toml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
