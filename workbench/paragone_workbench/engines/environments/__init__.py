"""Virtual environments for backends whose libraries conflict with those of others.

Each environment is a folder under `XDG_DATA_HOME` with the packages that its backend declares. An engine's
worker runs in the environment of its backend unless the engine's definition names another interpreter.
"""

from paragone_workbench.engines.environments.installation import check, create, remove
from paragone_workbench.engines.environments.installed import (
    InstalledEnvironment,
    interpreter,
    list_installed,
)
from paragone_workbench.engines.environments.planning import EnvironmentPlan, plan
from paragone_workbench.engines.environments.process import InstallStep, Stage

__all__ = [
    "InstalledEnvironment",
    "EnvironmentPlan",
    "Stage",
    "InstallStep",
    "check",
    "create",
    "list_installed",
    "interpreter",
    "plan",
    "remove",
]
