"""The script that a worker's interpreter runs first. The application starts the script by its path.

The script makes `paragone` and the backend's own package importable, whatever is installed in this interpreter. The script
also makes the process end with its parent, and closes the network to the process. The script's syntax is valid in old
versions of Python, so that an old interpreter can report its age.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


class PackageFinder:
    """An import finder for top-level packages. `folders` has the folder of each package, by name."""

    def __init__(self, folders: "dict[str, str]") -> None:
        self.folders = folders

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """Find a top-level package; the standard finders find its submodules."""
        folder = self.folders.get(name)
        if folder is None:
            return None
        import importlib.util

        return importlib.util.spec_from_file_location(
            name, folder + "/__init__.py", submodule_search_locations=[folder]
        )


def die_with_parent(parent: int) -> None:
    """Make the kernel kill this process when its parent ends (Linux only).

    A closed pipe also reports the parent's end, but only to a process that still reads from the pipe.
    """
    import os
    import signal

    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def main() -> None:
    """Run a worker. Arguments: `bootstrap.py FD PARENT open|closed ENGINE NAME=FOLDER…`.

    The third argument says whether the engine may use the network.
    """
    if sys.version_info < (3, 11):  # noqa: UP036 (the user names the interpreter)
        version = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write("paragone: a worker needs Python 3.11 or newer; this is " + version + ".\n")
        sys.exit(78)  # EX_CONFIG
    descriptor, parent, network, engine = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    folders = dict(item.split("=", 1) for item in sys.argv[5:])
    del sys.path[0]  # this script's own folder, whose modules must not be top-level modules
    sys.meta_path.insert(0, PackageFinder(folders))
    die_with_parent(parent)
    from paragone.worker.child_process.confinement import close_network_if

    close_network_if(network)
    from paragone.worker.child_process.serve import serve

    serve(descriptor, engine)


if __name__ == "__main__":
    main()
