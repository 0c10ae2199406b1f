"""Generates a history of a hundred thousand messages with a fixed seed, which is the same on every machine."""

import random
from itertools import accumulate
from pathlib import Path

from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.ids import new_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import LaneRecord, SavedConversation, Store
from paragone_workbench.store.outbox import whole_writes

__all__ = ["ABSENT_LETTERS", "COMMON_WORD", "CONVERSATIONS", "MESSAGES", "RARE_WORD", "write"]

CONVERSATIONS = 10_000
PROMPTS = 5  # per conversation, with one answer each
MESSAGES = CONVERSATIONS * PROMPTS * 2

COMMON_WORD = "lighthouse"
"""A word that is in most of the answers."""
RARE_WORD = "quicksilver"
"""A word that is in one answer."""
ABSENT_LETTERS = "qx"
"""Two letters that are in no message. The index has sequences of three letters, so the search must read all texts."""

_SYLLABLES = ("ba", "den", "fol", "gri", "hu", "ken", "lam", "mor", "ni", "per", "ras", "sto", "ti", "vel")
_FIRST = 1_700_000_000.0  # time of the first conversation, in seconds since 1970


def write(path: Path, seed: int = 8) -> None:
    """Write the history to a new file."""
    chance = random.Random(seed)
    words = [COMMON_WORD, *_made_up_words(chance, 5000)]
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))  # Zipf's law

    def text(length: int) -> str:
        return " ".join(chance.choices(words, cum_weights=weights, k=length)).capitalize() + "."

    store = Store.open(path)
    try:
        for number in range(CONVERSATIONS):
            extra = f" {RARE_WORD}" if number == CONVERSATIONS // 2 else ""
            saved = _conversation([(text(12), text(90)) for _ in range(PROMPTS)], number, extra)
            store.save_whole(saved.conversation, whole_writes(saved))
    finally:
        store.close()


def _made_up_words(chance: random.Random, count: int) -> list[str]:
    return ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(count)]


def _conversation(exchanges: list[tuple[str, str]], number: int, extra: str) -> SavedConversation:
    conversation = Conversation(created=_FIRST + number * 1000)
    definition = EngineDefinition(name="smol", backend="llama_cpp", model="smol.gguf")
    lane = LaneRecord(definition=definition, position=0)
    for step, (question, answer) in enumerate(exchanges):
        time = conversation.created + step * 60
        parent = conversation.prompts[-1] if conversation.prompts else None
        prompt = conversation.add(Prompt(text=question, parent=parent, created=time))
        result = RunResult(
            id=new_id(time),
            definition=definition,
            started=time,
            ended=time + 5,
            state="done",
            finish="stop",
            text=answer + (extra if step == 0 else ""),
        )
        run = Run(result, prompt=prompt, continues=lane.head)
        lane.runs.append(run)
        lane.head = run
    return SavedConversation(
        conversation=conversation, title="", updated=0, lanes=(lane,), runs=tuple(lane.runs)
    )
