"""How llama-server's router or llama-swap launched the server of a model.

The router lists the arguments as `status.args` in `/v1/models`, llama-swap the command line as `cmd` in `/running`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from paragone.json_fields import objects_at, text_at, texts_at
from paragone_remote.http.replies import optional_data
from paragone_remote.http.transport import EndpointClient
from paragone_remote.server_text import plain

_FLAG = re.compile(r"--?[a-zA-Z]")
_OWN = re.compile(r"-m|-a|-mm|--(model|host|port|alias|mmproj|ssl-\S+|\S*(key|token|password)\S*)")
"""Arguments that name the model or the address, or are secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How the server of a model was launched, as far as that is known."""

    arguments: tuple[str, ...] = ()
    """The server's arguments without the model, addresses and secrets, each with its values; empty if unknown."""
    by_llama_swap: bool = False
    """Whether llama-swap forwards the requests. llama-swap may change requests unnoticed (`setParams`, `stripParams`)."""


async def find_launch(http: EndpointClient, model: str) -> Launch:
    """Return how the server of a loaded model was launched. Never raises."""
    listed = await optional_data(http, f"{http.endpoint.url}/models")
    entry = next((item for item in objects_at(listed, "data") if item.get("id") == model), {})
    if plain(text_at(entry, "owned_by")) == "llama-swap":
        running = await optional_data(http, f"{http.endpoint.root}/running")
        entry = next((item for item in objects_at(running, "running") if item.get("model") == model), {})
        return Launch(arguments=_shown(_split(text_at(entry, "cmd"))), by_llama_swap=True)
    return Launch(arguments=_shown(texts_at(entry, "status", "args")))


def _shown(command: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments after the program, without arguments that name the model or an address, or are secret."""
    return tuple(shlex.join(group) for group in _groups(command[1:]) if not _OWN.fullmatch(group[0]))


def _groups(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Yield each flag with its values."""
    group: list[str] = []
    for argument in arguments:
        if _FLAG.match(argument) and group:
            yield group
            group = []
        name, equals, value = argument.partition("=")
        group += [name, value] if equals and _FLAG.match(argument) else [argument]
    if group:
        yield group


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command, comments=True)
    except ValueError:
        return command.split()
