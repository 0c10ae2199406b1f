"""`paragone engines`: lists the defined engines, and whether they can be used."""

from __future__ import annotations

from paragone_cli.command_line.arguments import PrintArguments, command
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.output import note, put_json, put_table
from paragone_workbench.inventory.doctor import probe_engines


@command(PrintArguments)
def engines(args: PrintArguments) -> int:
    """Print the defined engines."""
    context = CommandContext(args)
    definitions = list(context.config.engines.values())
    probed = list(zip(definitions, run(probe_engines(definitions, context.registry)), strict=True))
    if args.json:
        # without the options: they may contain secrets
        listed = [
            {
                "engine": definition.name,
                "backend": definition.backend,
                "model": definition.model,
                "python": definition.python,
                "usable": probe.usable,
                "reason": probe.reason,
                "remedy": probe.remedy,
            }
            for definition, probe in probed
        ]
        put_json({"engines": listed})
    elif definitions:
        put_table(
            [
                (
                    definition.name,
                    definition.backend,
                    definition.model,
                    "usable" if probe.usable else f"not usable: {probe.reason} {probe.remedy}",
                )
                for definition, probe in probed
            ]
        )
    else:
        path = context.config.document.path
        sample = "" if path.exists() else "`paragone config init` creates a sample, and "
        note(
            f"No engine is defined in {path}; {sample}`paragone models` lists models that need no definition."
        )
    return 0
