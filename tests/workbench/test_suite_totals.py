"""What came of the runs of an engine: which times count."""

from paragone_workbench.experiments.results import SpeedTotals


def test_shared_values_count_only_if_there_are_no_others():
    values = SpeedTotals()
    assert (values.median, values.are_shared) == (None, False)
    values.add(None, shared=True)
    values.add(10.0, shared=True)
    assert (values.median, values.are_shared) == (10.0, True)
    values.add(30.0, shared=False)
    values.add(50.0, shared=False)
    assert (values.median, values.are_shared) == (40.0, False)
