"""Virtual environments for backends whose libraries conflict with other backends' libraries.

Each environment is a folder under `XDG_DATA_HOME` with the packages that its backend declares. An engine's
worker runs in the environment of its backend unless the engine's definition names another interpreter.
"""
