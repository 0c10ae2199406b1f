"""The worker: a process of its own for every native engine.

That is the only thing that always frees VRAM, survives an abort inside C++ or CUDA, keeps native
prints off the screen, and lets engines with clashing pins live side by side.
"""

from paragone.worker.environment import Build, Environment
from paragone.worker.native import NativeBackend

__all__ = ["Build", "Environment", "NativeBackend"]
