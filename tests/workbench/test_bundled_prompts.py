"""The suite of `paragone choose` without --suite."""

import pytest

from paragone.assertions import Answer
from paragone_workbench.choosing.choice import questions
from paragone_workbench.experiments.assertions import evaluate, load_assertions
from paragone_workbench.experiments.comparison import MARGIN, prompts_for

RIGHT = {
    "facts": """Paris | Tokyo | Ottawa | Cairo | Canberra | Mercury | Mars | Pacific | Au | carbon dioxide | Shakespeare | Leonardo
        | 1945 | eight | ice | Nairobi | Oslo | Santiago | Jupiter | Fe | 100 | Einstein | Cervantes | Everest | 366 | The heart. | 1969
        | yen | Portuguese | Six.""",
    "sums": """19 | 83 | 63 | 72 | 12 | 90 | 1000 | 62 | 91 | 125 | 99 | 68 | 150 | 31 | 30 | 85 | 48 | 168 | 15 | 1,000 | 726 | 256
        | 169 | 80 | 17 | 70 | 1024 | 30 | 119 | 8 | 8 | 150""",
    "instructions": """Blue. | cat, dog, cow | hello | 1\n2\n3\n4\n5 | Yes. | The sea is blue. | The quick brown fox | Hi! | Banana | ABC
        | Cold. | OCEAN | red; green; blue; black | a\nb\nc | True. | two plus two is four | Does it rain? | 5 4 3 2 1 | tac
        | Winter is cold and white.""",
    "json": """{"name": "Ada"} | [1, 2, 3] | {"city": "Rome", "country": "Italy"} | {"ok": true} | {"name": "Bob", "age": 42} | {}
        | {"colours": ["red", "blue"]} | "hello" | {"count": 3} | ["a", "b"] | {"list": []} | {"city": "Oslo", "population": 700000}
        | {"min": 2, "max": 9} | 42 | [{"id": 1}, {"id": 2}] | {"person": {"name": "Eve"}} | {"even": [2, 4, 6]} | false""",
    "languages": """Rom | Madrid | blanca | grün | Hund | eau | casa | libro | 7 | cat | Warschau | Lisbonne | París | Berlino | Baum | pain
        | leche | formaggio | water | doce""",
}
"""Right answers to the prompts of each tag, in their order."""


@pytest.fixture(scope="module")
def catalog():
    catalog = load_assertions()
    yield catalog
    catalog.close()


def test_the_questions_can_rule_out_a_loss_of_the_default_margin_for_five_candidates(catalog):
    assert questions(None, catalog).checked >= prompts_for(MARGIN, 5)


async def test_right_answers_pass_and_others_do_not(catalog):
    prompts = questions(None, catalog).prompts
    answers = [(tag, answer.strip()) for tag, texts in RIGHT.items() for answer in texts.split(" | ")]
    assert [prompt.tags for prompt in prompts] == [(tag,) for tag, _ in answers]
    for prompt, (_, answer) in zip(prompts, answers, strict=True):
        text = prompt.messages[-1].text
        right = await evaluate(prompt, Answer(text=answer), catalog)
        assert all(result.verdict == "passed" for result in right), (text, answer)
        wrong = await evaluate(prompt, Answer(text="Zebra"), catalog)
        assert any(result.verdict == "failed" for result in wrong), text
