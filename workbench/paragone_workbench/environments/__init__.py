"""Virtual environments for engines whose libraries do not get on with others'.

Each is made of what its backend declares, in a folder of its own under XDG data, and is what the
engine's worker runs in unless its definition names another interpreter.
"""

from paragone_workbench.environments.found import Found, find, interpreter, remove
from paragone_workbench.environments.making import Stage, Step, check, create
from paragone_workbench.environments.planning import Plan, plan

__all__ = ["Found", "Plan", "Stage", "Step", "check", "create", "find", "interpreter", "plan", "remove"]
