"""Standard facts of open models, by which engines of different backends are compared.

An engine reports these facts in `LoadedModel.facts` under these names, and omits unknown facts. If an option sets a fact,
the fact has the same form as the option's value, and the option is declared with `option(..., fact=NAME)`.
`LoadedModel` has `context`, `quantization` and `architecture` as fields of their own.

The facts of a build are compared only between engines that run on the same program.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StandardFact:
    """A fact that engines have in common.

    Attributes:
        name: The fact's name, in `LoadedModel.facts` and for the user.
        doc: The meaning of the value.
        effect: The effect of different values in two engines, as a sentence for the user.
        field: Whether `LoadedModel` has a field for the fact, instead of an item in `LoadedModel.facts`.
    """

    name: str
    doc: str
    effect: str
    field: bool = False


ROUNDING = "It changes rounding, so answers can differ after some tokens, also at temperature 0."
"""The effect of the facts that change only the order of computations."""

STANDARD_FACTS = (
    StandardFact(
        "architecture", "The architecture, such as `llama`.", "These are different models.", field=True
    ),
    StandardFact("parameters", "Number of weights, as digits.", "These are different models."),
    StandardFact(
        "quantization",
        "The standard name, such as `Q4_K_M`.",
        "The weights are rounded differently.",
        field=True,
    ),
    StandardFact("LoRA adapter", "Its file and its strength, or `none`.", "An adapter changes the weights."),
    StandardFact(
        "other samplers",
        "The samplers in force that no option sets, such as `mirostat 2`, or `none`.",
        "They change which tokens are chosen.",
    ),
    StandardFact(
        "chat template",
        "The source of the chat template, in whatever language it is written.",
        "The same messages can become different prompts.",
    ),
    StandardFact(
        "context",
        "Size of the context window in tokens.",
        "A long conversation reaches the end of the smaller one first.",
        field=True,
    ),
    StandardFact("flash attention", "`on` or `off`.", ROUNDING),
    StandardFact("batch size", "Prompt tokens that are computed at once, as digits.", ROUNDING),
    StandardFact("K cache", "Number type of the K half of the KV cache, such as `f16`.", ROUNDING),
    StandardFact("V cache", "Number type of the V half of the KV cache, such as `f16`.", ROUNDING),
    StandardFact(
        "layers on a GPU",
        "How many, of how many, as `30 of 31`, or `none`.",
        "It changes the speed, and rounding.",
    ),
    StandardFact(
        "threads",
        "CPU threads at opening, as digits. `RunSettings.threads` takes precedence.",
        "It changes the speed, and can change rounding.",
    ),
)
"""All standard facts, those with the greatest effect first."""

PROGRAM = StandardFact(
    "program",
    "The program or library that computes, without its version, such as `llama.cpp` or `Ollama`.",
    ROUNDING,
)
"""The fact that decides which builds are comparable."""

ORIGIN = StandardFact(
    "origin",
    "The installation of the program: a package, a file, an environment, or the address of a server.",
    "",
)
"""The fact that identifies an installation. Engines with the same origin have the same build."""

BUILD_FACTS = (
    StandardFact("version", "The version of the program, such as `0.13.5`.", ROUNDING),
    StandardFact("commit", "The commit that the program was built from, abbreviated.", ROUNDING),
    StandardFact("compiler", "The compiler and its version.", ROUNDING),
    StandardFact(
        "instructions",
        "The processor's instructions that the program uses, in the program's own words: `AVX, AVX2, FMA`.",
        ROUNDING,
    ),
)
"""The facts that identify the build of a program."""

LAUNCH = StandardFact(
    "launch arguments",
    "The arguments that a server was started with, without addresses, keys and the model.",
    "They decide on everything that a request does not set.",
)
"""A fact that only servers have."""
