"""The options of the rogue backend, seen by the application and the worker."""

from dataclasses import dataclass

from paragone import Options, option


@dataclass(frozen=True, slots=True, kw_only=True)
class RogueLoad(Options):
    load_s: float = option(0.0, "Seconds that loading takes.", minimum=0)
    context: int = option(4096, "Context window, in tokens.", minimum=1, fact="context")
    scores: bool = option(False, "Whether it returns made-up scores and distributions.")
    vocab_size: int = option(16, "Tokens of the vocabulary.", minimum=1)
    free: int | None = option(None, "Free memory in bytes that its estimate reports.")
    rows: int = option(4, "Rows of a block of distributions.", minimum=1)
    trace: str | None = option(None, "File to which a byte is appended for each block of distributions.")
    fails_at: int | None = option(
        None, "Token before which scores and distributions fail, as the model does."
    )
    build: str | None = option(None, "Line that it prints when it loads, as a library describes its build.")
    peers: tuple[str, ...] = option((), "Addresses that it contacts.")
    last_words: str | None = option(None, "Text that it prints, or raises, when it fails.")
    gate: str | None = option(None, "File that it waits for before word `at`, unless it is cancelled.")
    load_gate: str | None = option(None, "File that loading waits for.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RogueSampling(Options):
    max_tokens: int = option(20, "Words to answer with.", minimum=0)
    rate: float = option(1000.0, "Words per second.", minimum=0.001)
    prefill_s: float = option(0.0, "Seconds that reading the prompt takes.", minimum=0)
    at: int = option(5, "Word before which it fails.", minimum=0)
