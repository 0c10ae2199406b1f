"""Creation of environments with obstacles: unexpected files, full disks."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from tests.wheels import write_wheel

from paragone import EngineError, InputError, ParagoneError, Probe
from paragone.worker import Build, Environment, NativeBackend
from paragone_workbench.engines import environment_creation as installation
from paragone_workbench.engines import environment_creation as planning
from paragone_workbench.engines import environments as installed
from paragone_workbench.engines.environments import run_command
from paragone_workbench.paths import data_folder

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
FAILED = "The environment of Tiny could not be created: "


class Tiny(NativeBackend):
    """A test double of a backend whose library is a single module."""

    name = "tiny"
    title = "Tiny"
    environment = Environment(
        builds=(
            Build(cuda="13", driver=580, requirements=("tinyengine==1.0",), download=600, disk=1000),
            Build(cuda="12", driver=525, requirements=("tinyengine==0.9",), download=600, disk=1000),
        ),
        pythons=(HERE,),
        modules=("tinyengine",),
    )

    def find_models(self, folders):
        return ()

    async def probe(self, python=None):
        return Probe(usable=True)


@pytest.fixture
def wheels(tmp_path):
    """A folder with wheels of tinyengine: 1.0, and 0.9, which prints a line of three megabytes."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version, source in (("1.0", "print('hello')"), ("0.9", "print('x' * 3_000_000, 'done', sep='\\n')")):
        write_wheel(folder, "tinyengine", version, source)
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Use a separate uv cache, because other tests have different wheels of the same name."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))


@pytest.fixture
def without_uv(monkeypatch):
    """Hide uv, so that venv and pip are used."""
    folders = os.environ["PATH"].split(os.pathsep)
    kept = [folder for folder in folders if not Path(folder, "uv").exists()]
    monkeypatch.setenv("PATH", os.pathsep.join(kept))


async def made(wheels, **options):
    plan = await planning.plan(Tiny(), find_links=str(wheels), **options)
    return [step async for step in installation.create(plan)]


def folder():
    return data_folder() / "environments" / "tiny"


async def test_very_long_lines_are_ignored(wheels):
    assert (await made(wheels, cuda="12"))[-1].line == "done"


@pytest.mark.parametrize("said", ["[]", "5", "null", "{", "\xff"])
def test_an_environment_with_an_unreadable_description_is_incomplete(said):
    (folder() / "bin").mkdir(parents=True)
    (folder() / "bin" / "python").touch()
    (folder() / "paragone.json").write_bytes(said.encode("latin-1"))
    (found,) = installed.list_installed({"tiny": Tiny()})
    assert not found.complete
    installation.remove("tiny")
    assert not folder().exists()


async def test_the_target_of_a_link_is_not_deleted(wheels, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "theirs").touch()
    folder().parent.mkdir(parents=True)
    folder().symlink_to(other)
    with pytest.raises(InputError, match="is a symbolic link, whose target would be deleted") as caught:
        await planning.plan(Tiny(), find_links=str(wheels))
    assert "`python`" in caught.value.hint
    assert installation.remove("tiny") == 0
    assert not folder().is_symlink()
    assert (other / "theirs").exists()


async def test_a_disk_that_is_full_at_the_end_leaves_nothing(wheels, monkeypatch):
    real = run_command

    async def filling(stage, *arguments, **options):
        """Run the step, then make the next file a link to /dev/full, so that writing it fails."""
        async for step in real(stage, *arguments, **options):
            yield step
        if stage == "install":
            (folder() / "paragone.json").symlink_to("/dev/full")

    monkeypatch.setattr(installation, "run_command", filling)
    with pytest.raises(EngineError) as caught:
        await made(wheels, cuda="13")
    assert caught.value.sentence == f"{FAILED}No space left on device."
    assert not folder().exists()


async def test_an_unreadable_data_folder_is_reported(wheels, tmp_path, monkeypatch):
    # Permissions do not apply to root, so use a name that is too long to be opened.
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ("x" * 300)))
    assert installed.interpreter(Tiny(), None) is None
    assert installed.list_installed({}) == ()
    with pytest.raises(ParagoneError, match="cannot be created: File name too long"):
        await made(wheels, cuda="13")


async def test_a_read_only_data_folder_is_reported(wheels):
    (folder().parent / ".tiny.lock").mkdir(parents=True)  # permissions do not apply to root
    with pytest.raises(ParagoneError, match=r"/environments cannot be written to: Is a directory"):
        await made(wheels, cuda="13")


async def test_an_endless_program_is_not_accepted_as_an_interpreter(tmp_path):
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\nwhile :; do echo yes; done\n")
    endless.chmod(0o755)
    async with asyncio.timeout(20):
        with pytest.raises(InputError, match="is not a Python interpreter"):
            await planning.plan(Tiny(), python=str(endless))


async def test_a_python_without_venv_gets_a_hint_what_to_install(wheels, tmp_path, without_uv):
    debian = tmp_path / "debian"
    said = (
        "The virtual environment was not created successfully because ensurepip is not\n"
        "available.  On Debian/Ubuntu systems, you need to install the python3-venv\n"
        "package using the following command.\n\n    apt install python3-venv\n\n"
        "You may need to use sudo with that command.  After installing the python3-venv\n"
        "package, recreate your virtual environment.\n\nFailing command: /x/bin/python3\n"
    )
    debian.write_text(
        f'#!/bin/sh\ncase "$*" in *version_info*) echo {HERE};; *) echo "{said}"; exit 1;; esac\n'
    )
    debian.chmod(0o755)
    with pytest.raises(EngineError, match="apt install python3-venv"):
        await made(wheels, cuda="13", python=str(debian))
    assert installed.list_installed({}) == ()
