"""Checks, before any run, whether the nodes of a cluster can run a suite, and names what each node lacks."""

from __future__ import annotations

from collections.abc import Mapping

from paragone import InputError
from paragone_workbench.experiments.on_ray.node_report import NodeReport, own_version

_SHOWN = 10
"""Largest number of problems that the message lists."""


def check_nodes(reports: Mapping[str, NodeReport], sizes: Mapping[str, int | None]) -> None:
    """Raise InputError if a node lacks something. `sizes` has the files' sizes on this machine; None for a missing file.

    Files are compared by size: a digest of tens of gigabytes on each node would take minutes.
    """
    problems: list[str] = []
    known = dict(sizes)
    for node, found in reports.items():
        if found.paragone != own_version():
            problems.append(
                f"The node {node} has paragone {found.paragone}, and this machine {own_version()}."
            )
        for path, size in found.files.items():
            if size is None:
                problems.append(f"The node {node} lacks the file {path}.")
            elif known.get(path) is None:
                known[path] = size
            elif size != known[path]:
                problems.append(
                    f"The file {path} has {size:,} bytes on the node {node}, and {known[path]:,} elsewhere."
                )
        problems += [
            f"{engine} cannot be opened on the node {node}: {sentence}"
            for engine, sentence in found.problems.items()
        ]
    if problems:
        more = [f"{len(problems) - _SHOWN:,} more problems."] if len(problems) > _SHOWN else []
        raise InputError(
            "\n".join([*problems[:_SHOWN], *more]),
            hint="Nothing was run. All nodes need the same version of paragone, and the models' files at the same paths.",
        )
