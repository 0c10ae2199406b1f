"""`paragone engines`: lists the defined engines, and whether they can be used."""

from __future__ import annotations

from paragone_cli.arguments import Arguments
from paragone_cli.context import CommandContext
from paragone_cli.event_loop import run
from paragone_cli.output import note, put_json, put_table
from paragone_workbench.inventory.doctor import probe_engines

__all__ = ["engines"]


def engines(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    context = CommandContext(args)
    context.warn()
    definitions = list(context.config.engines.values())
    probes = run(probe_engines(definitions, context.registry))
    if args.json:
        # without the options: they may contain secrets
        put_json(
            {
                "engines": [
                    {
                        "engine": definition.name,
                        "backend": definition.backend,
                        "model": definition.model,
                        "python": definition.python,
                        "usable": probe.usable,
                        "reason": probe.reason,
                        "remedy": probe.remedy,
                    }
                    for definition, probe in zip(definitions, probes, strict=True)
                ]
            }
        )
        return 0
    if not definitions:
        note(
            f"No engine is defined in {context.config.document.path}; `paragone config init` creates a sample, "
            "and `paragone models` lists models that need no definition."
        )
        return 0
    put_table(
        [
            (
                definition.name,
                definition.backend,
                definition.model,
                "usable" if probe.usable else f"not usable: {probe.reason} {probe.remedy}",
            )
            for definition, probe in zip(definitions, probes, strict=True)
        ]
    )
    return 0
