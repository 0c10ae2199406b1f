"""The workflow file: CI runs the same checks as a developer."""

import re
import tomllib


def test_ci_runs_the_make_targets(checkout):
    workflow = (checkout / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "- run: .ci/run\n" in workflow
    assert (checkout / ".ci" / "run").stat().st_mode & 0o111
    for place in re.findall(r"hashFiles\('([^']+)'\)", workflow):
        assert any(checkout.glob(place)), place


def test_ci_runs_on_every_python_that_the_package_names(checkout):
    workflow = (checkout / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"^ +python-version: \[(.*)\]$", workflow, re.MULTILINE)
    versions = re.findall(r'"([\d.]+)"', matrix)
    assert "python-version: ${{ matrix.python-version }}\n" in workflow
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={versions[0]}"
    named = [f"Programming Language :: Python :: {version}" for version in versions]
    assert named == [text for text in project["classifiers"] if re.search(r":: Python :: 3\.\d+$", text)]
