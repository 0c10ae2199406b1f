"""The order in which runs of several engines are executed, and what each may use of the machine."""
