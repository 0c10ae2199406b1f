"""Sampling parameters in force in a run: what was sent, and the server's defaults where it tells them."""

from __future__ import annotations

import dataclasses

from paragone import Json, RunSettings
from paragone.options import as_values
from paragone_remote.openai_api.habits import EXTRAS, Habits
from paragone_remote.openai_api.options import OpenAISampling
from paragone_remote.openai_api.server import Kind, Server
from paragone_remote.run_settings import draw_seed

__all__ = ["HONOUR_SEEDS", "settings_of", "with_seed"]

HONOUR_SEEDS: frozenset[Kind] = frozenset({"llama-server", "llama-cpp-python", "vLLM"})
"""Servers that are known to sample with the seed that a request names."""


def with_seed(sampling: OpenAISampling, server: Server, habits: Habits) -> OpenAISampling:
    """Return the options with a seed where the server honours it: theirs, the server's own, or one drawn here."""
    if sampling.seed is not None or server.kind not in HONOUR_SEEDS or habits.has_refused("seed"):
        return sampling
    return dataclasses.replace(sampling, seed=server.seed if server.seed is not None else draw_seed())


def settings_of(sampling: OpenAISampling, server: Server, habits: Habits, *, raw: bool) -> RunSettings:
    """Return what is in force in a run that was accepted. `raw`: whether a text is completed."""
    sent = {name: value for name, value in as_values(sampling).items() if value is not None and value != []}
    for name in habits.left_out(dict.fromkeys(EXTRAS)):
        sent.pop(name, None)
    defaults = server.completion_defaults if raw else server.chat_defaults
    always: dict[str, Json] = {}
    if raw:
        always["max_tokens"] = None  # sent even so: as much as fits
        for name in ("thinking", "effort"):  # of chats
            sent.pop(name, None)
    seed = sampling.seed if "seed" in sent and server.kind in HONOUR_SEEDS else None
    return RunSettings(seed=seed, sampling={**defaults, **always, **sent} or None)
