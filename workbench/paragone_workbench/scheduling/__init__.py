"""The order in which runs of several engines are executed, and what each may use of the machine."""

from paragone_workbench.scheduling.scheduler import Mode, Scheduler

__all__ = ["Mode", "Scheduler"]
