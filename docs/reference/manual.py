"""The manual page of `paragone`, from the declarations of the commands."""

import os
from importlib.metadata import metadata
from unittest.mock import patch

from argparse_manpage.manpage import Manpage

from paragone.texts import DISTRIBUTION
from paragone_cli.commands import program_parser


def page() -> str:
    """Return the page, in the language of man pages."""
    about = {
        "project_name": "paragone",
        "description": metadata(DISTRIBUTION)["Summary"],
        "manual_title": "User Commands",
        "date": " ",  # the page is as old as the version that it comes with
    }
    with patch.dict(os.environ, {"COLUMNS": "80"}):  # argparse breaks lines at the width of the terminal
        return str(Manpage(program_parser(), about, format="single-commands-section"))
