import pytest

from paragone_workbench.ids import Id, parse_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r45", Id("r", 45)),
        ("c7", Id("c", 7)),
        ("e3", Id("e", 3)),
        ("E3", Id("e", 3)),
        ("e3/17", Id("e", 3, 17)),
        *(
            (text, None)
            for text in ("", "e", "3", "e3/", "r45/1", "c7/1", "e-3", "e3 ", "e\u0663", f"e{10**18}")
        ),
    ],
)
def test_ids_of_runs_conversations_and_experiments_are_parsed(text, expected):
    assert parse_id(text) == expected
