"""Files that the user names, where nothing waits for a pipe, and Hugging Face's cache, as its own tools lay it out."""

import os
import socket
from pathlib import Path

import pytest

from paragone import InputError, files
from paragone.files import open_regular_file, option_text, read_regular_file


def refused(path):
    with pytest.raises(InputError) as caught:
        read_regular_file(path, hint="Name another.")
    return caught.value


def test_a_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"\0\r\n")
    assert read_regular_file(tmp_path / "a", hint="") == b"\0\r\n"
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_regular_file(tmp_path / "link", hint="") == b"\0\r\n"


def test_a_file_without_a_reported_size_is_read():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system has no /proc")
    assert b"VmRSS" in read_regular_file(status, hint="")


def test_pipes_sockets_and_devices_are_refused(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading, writing = os.pipe()
    os.write(writing, b"a part")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (pipe, Path(f"/dev/fd/{reading}"), tmp_path / "socket", Path("/dev/zero")):
            error = refused(path)
            assert (error.message, error.hint) == (f"{path} is not a regular file.", "Name another.")
            with pytest.raises(files.NotRegularFileError):
                open_regular_file(path)
    os.close(reading)
    os.close(writing)


def test_a_file_that_is_too_large_is_refused(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**28 + 1)
    error = refused(tmp_path / "large")
    assert (error.message, error.hint) == (f"{tmp_path / 'large'} is larger than 256 MiB.", "Name another.")
    (tmp_path / "small").write_bytes(bytes(2**21 + 1))
    assert len(read_regular_file(tmp_path / "small", hint="", largest=2**21 + 1)) == 2**21 + 1
    with pytest.raises(InputError, match=r"small is larger than 2 MiB\.$"):
        read_regular_file(tmp_path / "small", hint="", largest=2**21)


def test_an_endless_file_is_refused():
    pages = Path("/proc/self/pagemap")  # 256 GiB can be read from this file, whose size is 0
    if not pages.exists():
        pytest.skip("this system has no /proc")
    with pytest.raises(InputError, match=r"pagemap is larger than 1 MiB\.$"):
        read_regular_file(pages, hint="", largest=2**20)


def test_an_options_text_can_come_from_a_file(tmp_path, home):
    (home / "text").write_bytes("é\r\n".encode())
    assert option_text("text", "grammar") == "text"
    assert option_text("@~/text", "grammar") == "é\r\n"
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(16 * 10**6 + 1)
    for name, said in {
        "/dev/zero": "zero is not a regular file.",
        f"{tmp_path}/large": "large is larger than 16 MB.",
        f"{tmp_path}/latin": "latin is not UTF-8 text.",
        f"{tmp_path}/pipe": "pipe is not a regular file.",
        f"{tmp_path}/none": "none cannot be read: No such file or directory.",
        "a\0b": "cannot be read: embedded null byte.",
        "~nobody-here/x": "cannot be read: Could not determine home directory.",
    }.items():
        with pytest.raises(InputError) as caught:
            option_text(f"@{name}", "grammar")
        assert caught.value.message.startswith("The option 'grammar' cannot be used: ")
        assert caught.value.message.endswith(said)


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, "$XDG_CACHE_HOME/huggingface/hub"),
        ({"HF_HOME": "~/hf", "HF_HUB_CACHE": "$HOME/elsewhere"}, "$HOME/elsewhere"),
    ],
)
def test_hugging_faces_cache_is_found_by_its_variables(monkeypatch, variables, place):
    place = os.path.expandvars(place)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert files.snapshot_folders() == []
    for repository in ("models--b--two", "models--a--one", "datasets--a--data"):
        Path(place, repository, "snapshots").mkdir(parents=True)
    assert files.snapshot_folders() == [
        f"{place}/models--a--one/snapshots",
        f"{place}/models--b--two/snapshots",
    ]


@pytest.mark.parametrize(
    ("path", "repository"),
    [
        ("/c/hub/models--owner--a--name/snapshots/0123/sub/x.gguf", "owner/a--name"),
        ("/c/hub/models--gpt2/snapshots/0123", "gpt2"),
        ("/c/hub/models--owner--name/blobs/0123", None),
        ("smollm2:135m", None),
    ],
)
def test_a_path_in_the_cache_shows_its_repository(path, repository):
    assert files.repository_of(path) == repository


def test_files_of_several_revisions_have_the_same_blob(tmp_path):
    blob = tmp_path / "models--a--b/blobs/0123"
    link = tmp_path / "models--a--b/snapshots/ffff/x.gguf"
    for path in (blob, link):
        path.parent.mkdir(parents=True)
    blob.write_bytes(b"")
    link.symlink_to(blob)
    assert files.stored_file(str(link)) == str(blob.resolve())
    other = tmp_path / "x.gguf"
    other.symlink_to(blob)
    assert files.stored_file(str(other)) == str(other)
