import dataclasses

from tests.workbench.conversation_writer import LARGE, SMOL, change_result
from tests.workbench.report_subjects import conversation, ended

from paragone import RunSettings
from paragone_workbench.compare.parity import check_parity
from paragone_workbench.compare.parity_findings import sides_of
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import names_of
from paragone_workbench.reporting.conversation import conversation_report
from paragone_workbench.reporting.file import conversation_rows
from paragone_workbench.runs.context import path_to
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import Prefilled
from paragone_workbench.runs.run import Run


def report(saved):
    return conversation_report(saved, lambda _: None)


def grown(saved, text, *answers, parent=None, **fields):
    """Continue the conversation's paths with another prompt."""
    prompts = saved.conversation.prompts
    prompt = saved.conversation.add(Prompt(text=text, parent=parent or prompts[-1], **fields))
    for lane, answer in zip(saved.lanes, answers, strict=True):
        run = Run(ended(answer, lane.definition), prompt=prompt, continues=lane.head)
        run.number = 10 * len(prompts) + lane.position
        lane.runs.append(run)
        lane.head = run
    return prompt


def test_prompts_come_with_the_answers_of_the_paths():
    saved = conversation("Why?", "Because.", "It is.", system="Be brief.")
    grown(saved, "And then?", "Nothing.", "Nothing.")
    found = report(saved)
    first, second = found.prompts()
    assert [(it.role, it.text) for it in first.messages] == [("system", "Be brief."), ("user", "Why?")]
    assert [(it.role, it.text) for it in second.messages] == [("user", "And then?")]
    assert [it.text for it in second.rounds[0]] == ["Nothing.", "Nothing."]
    assert second.rounds[0][1].compared == "The same text as smol."
    assert {"seed", "temperature"} <= first.rounds[0][0].settings.keys()
    assert found.summary == "2 lanes · 2 prompts"
    assert found.id == "c7"


def test_variants_are_named_and_only_the_chosen_one_is_shown():
    saved = conversation("Why?", "Because.", "It is.")
    lane = saved.lanes[0]
    better = Run(ended("Because I say so."), prompt=saved.conversation.prompts[0])
    lane.runs.append(better)
    lane.head = better
    (prompt,) = report(saved).prompts()
    assert prompt.rounds[0][0].text == "Because I say so."
    assert prompt.rounds[0][0].remarks[0].text == "Answer 2 of 2, the one on the path."


def test_prompts_on_other_branches_are_omitted_and_counted():
    saved = conversation("Why?", "Because.", "It is.")
    first = saved.conversation.prompts[0]
    saved.conversation.add(Prompt(text="Why not?"))
    found = report(saved)
    assert [prompt.number for prompt in found.prompts()] == [1]
    assert found.left_out == "1 prompt on other branches is not shown. The CSV and JSON files have all."
    (prompt,) = found.prompts()
    assert prompt.remarks[0].text.startswith("One of 2 prompts that follow the same prompt")
    assert first.text == prompt.messages[0].text


def test_a_lane_that_changed_its_engine_shows_the_name_of_the_earlier_engine():
    saved = conversation("Why?", "Because.")
    saved.lanes[0].definition = LARGE
    found = report(saved)
    assert (
        found.left_out == "1 answer of earlier engines of lanes is shown, but does not count in the figures."
    )
    assert not found.sections, "the figures are those of the current engine"
    (prompt,) = found.prompts()
    assert prompt.rounds[0][0].engine == "large"
    assert prompt.rounds[0][0].remarks[0].text == "From the engine smol (paper:/m/smol)."


def asked_as(run, prompt, **fields):
    settings = RunSettings(seed=3, sampling={"temperature": 0.5}, prompt=prompt)
    change_result(run, settings=settings, **fields)


def test_differences_between_prompts_have_the_same_reason_as_on_the_screen():
    saved = conversation("Why?", "Because.", "It is.")
    grown(saved, "And then?", "Nothing.", "Nothing.")
    for lane in saved.lanes:
        first, second = path_to(lane.head)
        asked_as(first, "Why?")
        asked_as(second, f"Why? {first.text} And then?")
    begun = saved.lanes[1].head.continues
    asked_as(begun, "Why? It", prefilled=Prefilled(text=2))
    found = report(saved)
    one, other = (prompt.conditions for prompt in found.prompts())
    assert (one.remarks[0].text, one.remarks[0].stands_out) == (
        "The prompt in large differs from the prompt in smol. In large, the prompt contains "
        "the beginning of the answer.",
        False,
    )
    assert other.remarks[0].text.endswith(
        "Each lane's history contains its own answers, so the prompts differ."
    )
    assert [it.about.startswith("Asked alike as far as is known") for it in (one, other)] == [True, True]
    shown = check_parity(
        sides_of(zip(("smol", "large"), (it.head for it in saved.lanes), strict=True), lambda _: None)
    )
    assert other == shown.section(), "the screen shows the same"


def test_an_answer_with_a_given_beginning_does_not_count_in_mean_speeds():
    saved = conversation("Why?", "Because.", "It is.")
    change_result(
        saved.lanes[1].head, prefilled=Prefilled(text=2), metrics=RunMetrics(decode_tps=999.0, ttft_s=0.001)
    )
    found = report(saved)
    assert [[cell.text for cell in line.cells][1:] for line in found.overview.lines] == [
        ["40.0/s", "250 ms"],
        ["", ""],
    ]
    assert found.left_out == "1 answer with a given beginning does not count in the mean speeds."


def test_lanes_have_the_same_names_in_reports_as_on_the_screen():
    saved = conversation("Why?", "Because.", "It is.", "So.")
    saved.lanes[0].closed = True
    saved.lanes[1].definition = SMOL
    saved.lanes[2].definition = dataclasses.replace(SMOL, backend="ollama")
    names = names_of(saved.lanes, Registry().find)
    assert [names[lane.id] for lane in saved.lanes] == ["smol (paper)", "smol", "smol (ollama)"]
    assert [name for name, _ in report(saved).engines] == ["smol", "smol (ollama)"]
    assert {row["engine"] for row in conversation_rows(saved, Registry().find)} >= {"smol (paper)"}


def test_the_table_has_all_runs_even_outside_the_paths():
    saved = conversation("Why?", "Because.", "It is.")
    unseen = Run(ended("Unseen."), prompt=saved.conversation.prompts[0])
    unseen.number = 9
    saved.lanes[0].runs.append(unseen)
    rows = list(conversation_rows(saved, Registry().find))
    assert [(it["run"], it["engine"], it["repetition"], it["chosen"], it["text"]) for it in rows] == [
        ("r1", "smol", 0, True, "Because."),
        ("r9", "smol", 1, False, "Unseen."),
        ("r2", "large", 0, True, "It is."),
    ]
