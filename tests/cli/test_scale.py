"""The measurement of suites of very many runs, on a small one."""

from bench import scale


def test_a_small_suite_is_merged_compared_and_reported(capsys):
    scale.main([8])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == ["merge", "resume", "suite compare --json", "report"]
    assert all(int(row[4]) > 0 and not row[5].startswith("0.0 MiB, 0 bytes") for row in rows)
