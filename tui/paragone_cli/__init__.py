"""The command line of paragone: arguments in, text or JSON out."""

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    """Import the module of a command when the command is run: `--help` needs none of them."""
    if name.startswith("__"):
        raise AttributeError(name)
    return importlib.import_module(f"{__name__}.{name}")
