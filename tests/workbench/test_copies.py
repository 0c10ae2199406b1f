"""What can be copied of a conversation."""

from tests.workbench.lane_helpers import answers, opened

from paragone_workbench.lanes.variants import code_blocks, conversation_text, copies, turn_text

MARKDOWN = """\
Here:

```python
def f():
    return "```"
```

1. Then

   ~~~
   two
   lines
   ~~~

No `code` here.
"""


def test_code_blocks_are_found_as_in_markdown():
    assert code_blocks(MARKDOWN) == [("python", 'def f():\n    return "```"'), ("", "two\nlines")]
    assert code_blocks("none") == []
    assert code_blocks("```\nunfinished") == [("", "unfinished")]


async def test_an_answer_a_turn_or_the_conversation_can_be_copied(session, rogue):
    lanes = await opened(session, rogue(name="a", max_tokens=1), rogue("wide", name="b", max_tokens=1))
    await answers(session, "one\ntwo")
    await answers(session, "three")
    turn = "> one\n> two\n\n**a**\n\nword0 \n\n**b**\n\n語0😀 \n"
    assert turn_text(lanes, session.prompts[0]) == turn
    assert conversation_text(lanes) == f"{turn}\n> three\n\n**a**\n\nword0 \n\n**b**\n\n語0😀 \n"
    assert turn_text(lanes[:1], session.prompts[1]) == "> three\n\nword0 \n", "one lane needs no name"
    run = lanes[0].path[0]
    run.add("answer", "\n\n```sh\n\nls\n```\n")
    assert [(name, detail) for name, _, detail in copies(lanes, run)] == [
        ("sh code", "2 lines: ls"),
        ("the answer", "21 characters"),
        ("the turn", "the prompt and 2 answers"),
        ("the conversation", f"{len(conversation_text(lanes))} characters"),
    ]
