"""The conformance suite finds each flaw of the flawed backends, in the corresponding test.

All flawed backends run through the suite in a separate pytest process.
"""

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import defaultdict

import pytest
from flawed_backends import FLAWS

from paragone.testing import BackendConformance

pytestmark = pytest.mark.slow

MODULE = """
import pytest
from flawed_backends import FLAWS
from paragone import OpenRequest
from paragone.testing import BackendConformance

class Flawed(BackendConformance):
    patience = 3.0
    grace = 1.0

    @pytest.fixture
    def backend(self):
        return self.kind()

    @pytest.fixture
    def opening(self):
        return OpenRequest(model="words")

for kind in FLAWS:
    name = f"Test{kind.__name__}"
    globals()[name] = type(name, (Flawed,), {"kind": kind})
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> dict[str, set[str]]:
    """The failed tests for each flawed backend."""
    folder = tmp_path_factory.mktemp("flawed")
    (folder / "test_flawed.py").write_text(MODULE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml"]
    # In several processes, because finding some flaws needs waiting.
    command += ["--rootdir=.", "-n", "4", "--dist", "loadscope"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    failed = defaultdict(set)
    for case in ET.parse(folder / "report.xml").iter("testcase"):
        if case.find("failure") is not None:
            backend = case.attrib["classname"].rpartition(".")[2].removeprefix("Test")
            failed[backend].add(case.attrib["name"].partition("[")[0])
    return failed


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.__name__)
def test_a_flaw_is_found(flaw, failed):
    about, elsewhere = FLAWS[flaw]
    found = failed[flaw.__name__]
    assert not about - found, "the tests for this flaw did not fail"
    assert elsewhere or not found - about, "tests for something else failed"


def test_every_check_can_fail():
    checks = {name for name in dir(BackendConformance) if name.startswith("test_")}
    assert checks == set().union(*(found.tests for found in FLAWS.values()))
