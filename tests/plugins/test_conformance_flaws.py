"""The conformance suite finds each flaw of the flawed backends, in the corresponding test.

All flawed backends run through the suite in separate pytest processes.
"""

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from flawed_backends import FLAWS

from paragone.testing import BackendConformance

pytestmark = pytest.mark.slow

PROCESSES = 2
"""Several, because finding some flaws needs waiting."""

NOT_NEEDED = [
    "cacheprovider",
    "logging",
    "warnings",
    "faulthandler",
    "unraisableexception",
    "threadexception",
]
"""Parts of pytest that do something around each test, and do not decide whether it fails."""

MODULE = """
import gc

import pytest
from flawed_backends import FLAWS
from paragone import OpenRequest
from paragone.testing import BackendConformance

gc.disable()  # thousands of tests stay to the end, and each search for garbage would go through all of them

CHECKS = {{name for name in dir(BackendConformance) if name.startswith("test_")}}

class Flawed(BackendConformance):
    patience = 3.0
    grace = 1.0

    @pytest.fixture
    def backend(self):
        return self.kind()

    @pytest.fixture
    def opening(self):
        return OpenRequest(model="words")

for kind in list(FLAWS)[{part}::{parts}]:
    name = f"Test{{kind.__name__}}"
    # Where tests for something else may fail as well, it does not matter whether they do.
    left_out = CHECKS - FLAWS[kind].tests if FLAWS[kind].elsewhere else ()
    globals()[name] = type(name, (Flawed,), {{"kind": kind, **dict.fromkeys(left_out)}})
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> dict[str, set[str]]:
    """The failed tests for each flawed backend."""
    folder = tmp_path_factory.mktemp("flawed")
    failed = defaultdict(set)
    with ThreadPoolExecutor(PROCESSES) as executor:
        for report in executor.map(partial(report_of, folder), range(PROCESSES)):
            for case in ET.parse(report).iter("testcase"):
                if case.find("failure") is not None:
                    backend = case.attrib["classname"].rpartition(".")[2].removeprefix("Test")
                    failed[backend].add(case.attrib["name"].partition("[")[0])
    return failed


def report_of(folder: Path, part: int) -> Path:
    """Test a part of the flawed backends, and return the path of the report."""
    module, report = folder / f"test_flawed_{part}.py", folder / f"{part}.xml"
    module.write_text(MODULE.format(part=part, parts=PROCESSES))
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "--rootdir=.", "--capture=no"]
    command += ["--disable-plugin-autoload", "-p", "asyncio", *(f"-pno:{name}" for name in NOT_NEEDED)]
    command += [f"--junitxml={report}", str(module)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return report


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_a_flaw_is_found(flaw, failed):
    about, elsewhere = FLAWS[flaw]
    found = failed[flaw.__name__]
    assert not about - found, "the tests for this flaw did not fail"
    assert elsewhere or not found - about, "tests for something else failed"


def test_every_check_can_fail():
    checks = {name for name in dir(BackendConformance) if name.startswith("test_")}
    assert checks == set().union(*(found.tests for found in FLAWS.values()))
