"""Scheduling: when the runs of several engines are executed, and which resources each run may use."""
