"""Runs the program for a given time while its workers, servers and history fail: `make soak MINUTES=10`."""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.soak.plan import Plan
from bench.soak.soak import soak


def main() -> int:
    """Run a soak, and print its figures. Return 1 if the program broke a promise."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="random seed; by default the current time"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="folder for the history, the journal and the figures; by default a new one",
    )
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="paragone-soak-"))
    plan = Plan(minutes=arguments.minutes, seed=arguments.seed, folder=folder)
    print(f"soak: {plan.minutes:g} minutes, seed {plan.seed}, in {folder}", file=sys.stderr, flush=True)
    # Background jobs of a shell ignore SIGINT, and programs under nohup ignore SIGHUP. Child processes would inherit this.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    outcome = soak(plan)
    path = folder / "figures.json"
    path.write_text(json.dumps(outcome.json(), indent=1) + "\n")
    print(outcome.table())
    print(f"The figures as JSON: {path}")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
