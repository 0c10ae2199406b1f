"""The worker: each native engine runs in its own process.

The end of a process always frees its VRAM. The application survives an abort in C++ or CUDA, native
output stays off the screen, and engines with conflicting dependencies can run side by side.
"""

from paragone.worker.environment import Build, Environment
from paragone.worker.native import NativeBackend

__all__ = ["Build", "Environment", "NativeBackend"]
