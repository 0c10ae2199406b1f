"""Standard facts of open models, by which engines of different backends are compared.

An engine reports them in `LoadedModel.facts` under these names, each in the notation of the option that
sets it, if there is one: the option names the fact with `option(..., fact=NAME)`. It leaves out what it
does not know. `LoadedModel` has `context`, `quantization` and `architecture` as fields
of their own.

The facts of a build are compared between engines on one program only.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BUILD_FACTS", "LAUNCH", "ORIGIN", "PROGRAM", "ROUNDING", "STANDARD_FACTS", "StandardFact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardFact:
    """A fact that engines have in common.

    Attributes:
        name: Its name in `LoadedModel.facts`, and its name for the user.
        doc: What the value is.
        effect: What a difference between two engines does, as a sentence for the user.
        field: Whether it is a field of `LoadedModel` instead of one of its facts.
    """

    name: str
    doc: str
    effect: str
    field: bool = False


ROUNDING = "It changes rounding, so answers can differ after some tokens, also at temperature 0."
"""The effect of the facts that change only the order of computations."""

STANDARD_FACTS = (
    StandardFact(
        name="architecture",
        doc="The architecture, such as `llama`.",
        effect="These are different models.",
        field=True,
    ),
    StandardFact(
        name="parameters",
        doc="Number of weights, as digits.",
        effect="These are different models.",
    ),
    StandardFact(
        name="quantization",
        doc="The standard name, such as `Q4_K_M`.",
        effect="The weights are rounded differently.",
        field=True,
    ),
    StandardFact(
        name="LoRA adapter",
        doc="Its file and its strength, or `none`.",
        effect="An adapter changes the weights.",
    ),
    StandardFact(
        name="other samplers",
        doc="The samplers in force that no option sets, such as `mirostat 2`, or `none`.",
        effect="They change which tokens are chosen.",
    ),
    StandardFact(
        name="chat template",
        doc="The source of the chat template, in whatever language it is written.",
        effect="The same messages can become different prompts.",
    ),
    StandardFact(
        name="context",
        doc="Size of the context window in tokens.",
        effect="A long conversation reaches the end of the smaller one first.",
        field=True,
    ),
    StandardFact(name="flash attention", doc="`on` or `off`.", effect=ROUNDING),
    StandardFact(
        name="batch size", doc="Prompt tokens that are computed at once, as digits.", effect=ROUNDING
    ),
    StandardFact(
        name="K cache", doc="Number type of the K half of the KV cache, such as `f16`.", effect=ROUNDING
    ),
    StandardFact(
        name="V cache", doc="Number type of the V half of the KV cache, such as `f16`.", effect=ROUNDING
    ),
    StandardFact(
        name="layers on a GPU",
        doc="How many, of how many, as `30 of 31`, or `none`.",
        effect="It changes the speed, and rounding.",
    ),
    StandardFact(
        name="threads",
        doc="CPU threads at opening, as digits. `RunSettings.threads` takes precedence.",
        effect="It changes the speed, and can change rounding.",
    ),
)
"""All standard facts, those with the greatest effect first."""

PROGRAM = StandardFact(
    name="program",
    doc="The program or library that computes, without its version, such as `llama.cpp` or `Ollama`.",
    effect=ROUNDING,
)
"""The fact that decides which builds are comparable."""

ORIGIN = StandardFact(
    name="origin",
    doc="The installation of the program: a package, a file, an environment, or the address of a server.",
    effect="",
)
"""The fact that tells which engines have one build without further ado."""

BUILD_FACTS = (
    StandardFact(name="version", doc="The version of the program, such as `0.13.5`.", effect=ROUNDING),
    StandardFact(name="commit", doc="The commit that it was built from, abbreviated.", effect=ROUNDING),
    StandardFact(name="compiler", doc="The compiler and its version.", effect=ROUNDING),
    StandardFact(
        name="instructions",
        doc="The processor's instructions that it uses, as the program names them: `AVX, AVX2, FMA`.",
        effect=ROUNDING,
    ),
)
"""The facts that identify the build of a program."""

LAUNCH = StandardFact(
    name="launch arguments",
    doc="The arguments that a server was started with, but for addresses, keys and the model.",
    effect="They decide on everything that a request does not set.",
)
"""The fact that only servers have."""
