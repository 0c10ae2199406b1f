"""`paragone audit`: lists the addresses that recent processes of this program contacted, and by which engine."""

from __future__ import annotations

import dataclasses

from paragone_cli.command_line.arguments import PrintArguments, command
from paragone_cli.command_line.formats import date
from paragone_cli.command_line.output import note, put_json, put_table
from paragone_workbench.network.contact_log import contact_log, read_contacts


@command(PrintArguments)
def audit(args: PrintArguments) -> int:
    """Print the contacts, the newest last."""
    contacts = read_contacts()
    if args.json:
        put_json(
            {"file": str(contact_log()), "contacts": [dataclasses.asdict(contact) for contact in contacts]}
        )
    elif not contacts:
        note("No process of paragone has contacted anything so far.")
    else:
        rows = [
            (
                date(contact.time),
                f"paragone {contact.command}".rstrip(),
                str(contact.process),
                contact.engine,
                contact.address + (f" refused: {contact.refused}" if contact.refused else ""),
            )
            for contact in contacts
        ]
        put_table([("TIME", "COMMAND", "PROCESS", "ENGINE", "ADDRESS"), *rows])
    return 0
