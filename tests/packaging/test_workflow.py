"""The workflow file: CI runs the same checks as a developer."""

import re
import tomllib


def test_ci_runs_the_make_targets(checkout):
    workflow = (checkout / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "- run: .ci/run\n" in workflow
    assert (checkout / ".ci" / "run").stat().st_mode & 0o111
    wanted = re.search(r'python-version: "([\d.]+)"', workflow)
    assert wanted
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={wanted[1]}"
    for place in re.findall(r"hashFiles\('([^']+)'\)", workflow):
        assert any(checkout.glob(place)), place
