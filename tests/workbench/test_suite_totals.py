"""What came of the runs of an engine: which times count."""

from paragone_cli.suite_results import put_totals
from paragone_workbench.experiments.results import EngineTotals, SpeedTotals


def test_shared_values_count_only_if_there_are_no_others():
    values = SpeedTotals()
    assert (values.median, values.are_shared) == (None, False)
    values.add(None, shared=True)
    values.add(10.0, shared=True)
    assert (values.median, values.are_shared) == (10.0, True)
    values.add(30.0, shared=False)
    values.add(50.0, shared=False)
    assert (values.median, values.are_shared) == (40.0, False)


def test_the_table_says_that_its_times_are_medians(capsys):
    totals = EngineTotals(engine="small", total=3, runs=3)
    for seconds in (0.1, 0.2, 0.9):
        totals.ttft_s.add(seconds, shared=False)
    put_totals([totals])
    header, row = capsys.readouterr().out.splitlines()
    assert header.endswith("TTFT p50 (ms)  tokens/s p50")
    assert row.split()[-2:] == ["200.0", "–"]
