"""The sampling parameters in force in a run: those of the request, and the server's defaults if the server reports any."""

from __future__ import annotations

import dataclasses

from paragone import RunSettings
from paragone.chat.sampling import draw_seed
from paragone_remote.answers.run_settings import set_options
from paragone_remote.openai_api.completions.refused_fields import EXTRAS, RefusedFields
from paragone_remote.openai_api.openai_options import OpenAISampling
from paragone_remote.openai_api.servers.server import ServerKind, ServerProperties

HONOUR_SEEDS: frozenset[ServerKind] = frozenset({"llama-server", "llama-cpp-python", "vLLM"})
"""Servers that are known to use the seed of a request."""


def with_seed(
    sampling: OpenAISampling, drawn: int | None, server: ServerProperties, refused_fields: RefusedFields
) -> OpenAISampling:
    """Return the options, with a seed if the server honours seeds: the given, the server's, `drawn` or a random seed."""
    if sampling.seed is not None or server.kind not in HONOUR_SEEDS or "seed" in refused_fields:
        return sampling
    drawn = draw_seed() if drawn is None else drawn
    return dataclasses.replace(sampling, seed=drawn if server.seed is None else server.seed)


def settings_of(
    sampling: OpenAISampling, server: ServerProperties, refused_fields: RefusedFields, *, raw: bool
) -> RunSettings:
    """Return the settings in force in an accepted run.

    `raw` says whether the run uses the completions endpoint.
    """
    sent = set_options(sampling)
    for name in refused_fields.left_out(dict.fromkeys(EXTRAS)):
        sent.pop(name, None)
    if raw:
        sent.setdefault("max_tokens", None)  # sent as null, which means as many tokens as fit
        sent.pop("thinking", None)  # the option thinking applies to chats only
    seed = sampling.seed if "seed" in sent and server.kind in HONOUR_SEEDS else None
    return RunSettings(seed=seed, sampling={**server.defaults, **sent} or None)
