"""Virtual environments for engines whose libraries do not get on with others'.

Each is made of what its backend declares, in a folder of its own under XDG data, and is what the
engine's worker runs in unless its definition names another interpreter.
"""

from paragone_workbench.engines.environments.found import Found, find, interpreter
from paragone_workbench.engines.environments.making import check, create
from paragone_workbench.engines.environments.planning import Plan, plan
from paragone_workbench.engines.environments.removing import remove
from paragone_workbench.engines.environments.steps import Stage, Step

__all__ = ["Found", "Plan", "Stage", "Step", "check", "create", "find", "interpreter", "plan", "remove"]
