"""Standard facts of open models, by which engines of different backends are compared.

An engine reports these facts in `LoadedModel.facts` under these names, and omits unknown facts. If an option sets a fact,
the fact has the same form as the option's value, and the option is declared with `option(..., fact=NAME)`.
`LoadedModel` has `context`, `quantization` and `architecture` as fields of their own.

The facts of a build are compared only between engines that run on the same program.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StandardFact:
    """A fact that engines have in common. docs/plugin-reference.md describes the values.

    Attributes:
        name: The fact's name, in `LoadedModel.facts` and for the user.
        effect: A message for the user on the effect of different values in two engines.
        field: Whether `LoadedModel` has a field for the fact, instead of an item in `LoadedModel.facts`.
    """

    name: str
    effect: str
    field: bool = False


ROUNDING = "It changes rounding, so answers can differ after some tokens, even at temperature 0."
"""The effect of a difference that changes only the order of floating-point operations."""

STANDARD_FACTS = (
    StandardFact("architecture", "These are different models.", field=True),
    StandardFact("parameters", "These are different models."),
    StandardFact("quantization", "The weights are rounded differently.", field=True),
    StandardFact("LoRA adapter", "An adapter changes the weights."),
    StandardFact("other samplers", "They change which tokens are chosen."),
    StandardFact("chat template", "The same messages can become different prompts."),
    StandardFact("context", "A long conversation reaches the end of the smaller one first.", field=True),
    StandardFact("flash attention", ROUNDING),
    StandardFact("batch size", ROUNDING),
    StandardFact("K cache", ROUNDING),
    StandardFact("V cache", ROUNDING),
    StandardFact("layers on a GPU", "It changes the speed, and rounding."),
    StandardFact("threads", "It changes the speed, and can change rounding."),
)
"""All standard facts, those with the greatest effect first."""

PROGRAM = StandardFact("program", ROUNDING)
"""Only builds of the same program are comparable."""

ORIGIN = StandardFact("origin", "")
"""The fact that identifies an installation. Engines with the same origin have the same build."""

BUILD_FACTS = tuple(
    StandardFact(name, ROUNDING) for name in ("version", "commit", "compiler", "instructions")
)
"""The facts that identify the build of a program."""

LAUNCH = StandardFact("launch arguments", "They determine everything that a request does not set.")
"""A fact that only servers have."""
