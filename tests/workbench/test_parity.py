"""The parity check, with engines that are only described, and with real workers."""

from dataclasses import dataclass, replace

import pytest
from tests.workbench.conftest import Paper
from tests.workbench.conversation_writer import result_of

from paragone import Capabilities, Caution, LoadedModel, Message, Options, RunSettings, WeightsFile, option
from paragone.options import describe
from paragone.wire import to_json
from paragone_workbench.compare.parity import check_parity
from paragone_workbench.compare.parity_findings import Side, sides_of
from paragone_workbench.engines.definitions import ContextOptions, EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.run import Run

SAMPLING = {"temperature": 0.0, "top_k": 40, "repeat_penalty": 1.0}
FACTS = {
    "parameters": "1000",
    "LoRA adapter": "none",
    "other samplers": "none",
    "chat template": "{{ messages }}",
    "flash attention": "off",
    "batch size": "128",
    "K cache": "f16",
    "V cache": "f16",
    "layers on a GPU": "none",
    "threads": "1",
    "program": "llama.cpp",
    "origin": "llama-cpp-python 0.3.36",
}
SYSTEM = "You are a helpful assistant."
WITH = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
WITHOUT = "<|im_start|>user\nHi<|im_end|>\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Options):
    n_ctx: int = option(512, "Context.", fact="context")
    n_batch: int = option(128, "Batch.", fact="batch size", maximum=256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling(Options):
    temperature: float | None = option(None, "Temperature.")
    top_k: int | None = option(None, "Top k.")
    repeat_penalty: float | None = option(None, "Penalty.")
    penalty_last_n: int | None = option(None, "Window.")
    seed: int | None = option(None, "Seed.")
    stop: tuple[str, ...] = option((), "Stop.")


class Local(Paper):
    """Stands in for a backend with the options that parity looks at."""

    load_options = Load
    sampling = Sampling
    capabilities = Capabilities(seed=True)


class Served(Local):
    """One that calls two options otherwise, and cannot change its batches."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class load_options(Options):
        num_ctx: int | None = option(None, "Context.", fact="context")

    @dataclass(frozen=True, slots=True, kw_only=True)
    class sampling(Options):
        temperature: float | None = option(None, "Temperature.")
        top_k: int | None = option(None, "Top k.")
        repeat_penalty: float | None = option(None, "Penalty.")
        repeat_last_n: int | None = option(None, "Window.", fact="penalty_last_n")
        stop: tuple[str, ...] = option((), "Stop.")


def side(
    name="a",
    backend=Local,
    *,
    sampling=SAMPLING,
    prompt=WITH,
    ids=None,
    tokens=None,
    cached=0,
    cautions=(),
    system="",
    options=None,
    facts=FACTS,
    capabilities=None,
    cautions_of_model=(),
    **loaded,
):
    definition = EngineDefinition(name=name, backend="paper", model="m", options=options or {})
    messages = [Message(role="system", text=system)] if system else []
    facts = {key: value for key, value in facts.items() if value is not None}
    described = {
        "cautions": cautions_of_model,
        "context": 512,
        "quantization": "Q4_1",
        "architecture": "llama",
        **loaded,
    }
    result = result_of(
        definition,
        settings=RunSettings(sampling=sampling, prompt=prompt, prompt_ids=ids),
        metrics=RunMetrics(prompt_tokens=tokens, cached_tokens=cached),
        cautions=tuple(Caution(code=code, sentence="It did.") for code in cautions),
        manifest={
            "loaded": to_json(LoadedModel(name="m", facts=facts, capabilities=capabilities, **described))
        },
    )
    (made,) = sides_of([(name, Run(result))], lambda _: backend())
    return replace(made, messages=(*messages, Message(role="user", text="Hi")))


def only(sides):
    (finding,) = check_parity(sides).findings
    return finding


def test_adapters_with_the_same_name_but_other_weights_differ():
    def adapted(name, sample):
        file = WeightsFile(path=f"/{name}/adapter.gguf", size=9, sample=sample)
        made = side(name, facts={**FACTS, "LoRA adapter": "adapter.gguf, strength 1"})
        return replace(made, loaded=replace(made.loaded, weights=(file,)))

    assert not check_parity([adapted("a", "1" * 32), adapted("b", "1" * 32)]).findings
    finding = only([adapted("a", "1" * 32), adapted("b", "2" * 32)])
    assert (finding.what, finding.is_alarm) == ("LoRA adapter", True)
    assert (
        "strength 1, file 11111111 in a and adapter.gguf, strength 1, file 22222222 in b" in finding.sentence
    )


def test_equal_conditions_are_fair():
    parity = check_parity([side("a"), side("b")])
    assert (parity.findings, parity.unknown) == ((), ())
    assert parity.verdict == "The comparison is fair: the conditions are the same."
    assert parity.remark == ""
    same = check_parity([built("a"), built("b")])
    assert (same.findings, same.unknown) == ((), ()), "the same build at two places"
    for sides in (
        # an option that the other engine lacks, before it is set
        (side("a", sampling={**WARM, "seed": None}), side("b", Served, sampling=WARM)),
        # known prompts make templates irrelevant
        (side("a"), side("b", facts={**FACTS, "chat template": "another"})),
        (built("a", **{LAUNCH: "--mlock"}), built("c")),
    ):
        assert check_parity(sides).findings == ()


# Sampling


def test_a_default_of_one_engine_is_reported_and_can_be_levelled():
    finding = only([side("a"), side("b", sampling={**SAMPLING, "repeat_penalty": 1.1}), side("c")])
    assert finding.what == "repeat_penalty"
    assert finding.values == {"a": 1.0, "b": 1.1, "c": 1.0}
    assert finding.sentence == "repeat_penalty is 1 in a and c and 1.1 in b."
    assert finding.advice == "To level it: --set repeat_penalty=1"
    (change,) = finding.changes
    assert (change.engine, change.option, change.value, change.reloads) == ("b", "repeat_penalty", 1.0, False)


def test_options_without_effect_at_temperature_0_are_ignored():
    other = {**SAMPLING, "top_k": 1, "seed": 3, "penalty_last_n": 9}
    assert not check_parity([side("a"), side("b", sampling=other)]).findings
    warm = [{**its, "temperature": 0.5} for its in (SAMPLING, other)]
    parity = check_parity([side("a", sampling=warm[0]), side("b", sampling=warm[1])])
    assert [finding.what for finding in parity.findings] == ["top_k"]
    assert [(it.what, it.names) for it in parity.unknown] == [("a", ("seed",))]


def test_unreported_options_are_unknown_and_can_be_set():
    parity = check_parity([side("a"), side("b", sampling={"temperature": 0.0})])
    assert parity.findings == ()
    (unknown,) = parity.unknown
    assert (unknown.what, unknown.names) == ("b", ("repeat_penalty",))
    assert unknown.sentence == "b does not report: repeat_penalty."
    assert unknown.advice == "To set it: --set repeat_penalty=1"
    assert parity.verdict == ("Asked alike as far as is known; not known: repeat_penalty.")


def test_random_seeds_are_expected_and_levelled_in_all_engines():
    drawn = [
        side(name, sampling={**SAMPLING, "temperature": 1.0, "seed": seed})
        for name, seed in (("a", 5), ("b", 7))
    ]
    parity = check_parity(drawn)
    (finding,) = parity.findings
    assert (finding.sentence, finding.sign) == (
        "seed is 5 in a and 7 in b. Each engine drew its own value.",
        "·",
    )
    assert parity.alarms == 0
    assert parity.verdict == "Asked alike. These differences are expected:"
    assert [(it.engine, it.value) for it in finding.changes] == [("a", 5), ("b", 5)]
    chosen = side("b", sampling={**SAMPLING, "temperature": 1.0, "seed": 7}, options={"seed": 7})
    parity = check_parity([drawn[0], chosen])
    assert parity.alarms == 1, "one seed was set, the other drawn"
    unseeded = [side(name, sampling=WARM, capabilities=Capabilities()) for name in "ab"]
    assert check_parity(unseeded).verdict == "Asked alike as far as is known; not known: random choices."
    assert [(it.engine, it.value) for it in parity.findings[0].changes] == [("a", 7)]


def test_the_compared_property_is_expected_and_listed_last():
    small = side("b", quantization="Q8_0", cached=9, facts={**FACTS, "threads": "2"})
    parity = check_parity([side("a"), small])
    assert [(it.what, it.sign) for it in parity.findings] == [
        ("threads", "≠"),
        ("quantization", "·"),
        ("cached tokens", "·"),
    ]
    assert parity.verdict == "Asked differently: 1 condition differs."


LAUNCH = "launch arguments"
BUILD = {"version": "0.5.0", "commit": "1a2b3c4", "compiler": "GNU 13.3.0", "instructions": "AVX, FMA"}


def built(name, origin="", **told):
    return side(name, facts={**FACTS, "origin": origin or f"http://{name}", **BUILD, **told})


PENALTY = {**SAMPLING, "repeat_penalty": 1.2}
STOPLESS = {**SAMPLING, "stop": []}
WARM = {**SAMPLING, "temperature": 1.0}


@pytest.mark.parametrize(
    ("sides", "what", "values", "message", "advice"),
    [
        ([side("a"), side("b", sampling={**SAMPLING, "repeat_penalty": 1.1}), side("c", sampling=None)],
         "repeat_penalty", {"a": 1.0, "b": 1.1, "c": None},
         "repeat_penalty is 1 in a and 1.1 in b; c does not report it.", "--set repeat_penalty=1"),
        ([side("a", sampling={**PENALTY, "penalty_last_n": 64}),
          side("b", Served, sampling={"temperature": 0.0, "repeat_penalty": 1.2, "repeat_last_n": 32})],
         "penalty_last_n", {"a": 64, "b": 32}, "is 64 in a and 32 in b.", "--set b.repeat_last_n=64"),
        ([side("a"), side("b", sampling={**SAMPLING, "stop": ["<a>", "b"]}), side("c", sampling=STOPLESS)],
         "stop", {"a": None, "b": ["<a>", "b"], "c": "none"}, "", "--set 'stop=<a>,b'"),
        ([side("a", context=512), side("b", Served, context=1024), side("c", context=512)],
         "context", {"a": "512", "b": "1024", "c": "512"}, "", "--set b.num_ctx=512"),
        ([side("a"), side("b"), side("s", Served, facts={**FACTS, "batch size": "200"})],
         "n_batch", {"a": "128", "b": "128", "s": "200"}, "", "--set a.n_batch=200 --set b.n_batch=200"),
        ([side("a"), side("s", Served, facts={**FACTS, "batch size": "2048"})],
         "n_batch", {"a": "128", "s": "2048"}, "", ""),
        ([side("a", sampling=WARM), side("b", sampling=WARM, capabilities=Capabilities())],
         "seed support", {"a": True, "b": False}, "A seed has no certain effect in b", ""),
        ([side("a"), side("b", cautions=["truncated", "reloaded"])],
         "truncated", {"a": False, "b": True}, "b cut its prompt; the others did not.", ""),
        ([side("a", cached=0), side("b", cached=34), side("c", cached=None)],
         "cached tokens", {"a": 0, "b": 34, "c": None},
         "Prompt tokens taken from the KV cache: 0 in a and 34 in b; c does not", ""),
        ([side("a", tokens=3, prompt="Yes: Hi"), side("b", tokens=3, prompt="No: Hi")],
         "prompt", {"a": "Yes: Hi", "b": "No: Hi"}, 'b has "No" in place of "Yes".', ""),
        ([side("a", ids=(1, 2, 3)), side("b", ids=(0, 1, 2, 3))],
         "prompt tokens", {"a": 3, "b": 4}, "its tokens differ from token 1 on", ""),
        ([side("a", system=SYSTEM, tokens=9), side("b", system=SYSTEM, tokens=3, prompt=WITHOUT)],
         "prompt tokens", {"a": 9, "b": 3}, "", ""),
        ([side("a", sampling={**WARM, "seed": 5}), side("b", Served, sampling=WARM)],
         "seed", {"a": 5, "b": None}, "seed is 5 in a. b has no such option.", ""),
        ([side("a"), side("b", prompt=None, facts={**FACTS, "chat template": "another"})],
         "chat template", {"a": FACTS["chat template"], "b": "another"}, "The chat templates differ.", ""),
        ([built("a"), built("b", version="0.6.1", commit="5d6e7f8"), built("c")], "build",
         {"a": ", ".join(BUILD.values()), "b": "0.6.1, 5d6e7f8, GNU 13.3.0, AVX, FMA", "c": ", ".join(BUILD.values())},
         "The builds of llama.cpp differ: version 0.5.0 in a and c and 0.6.1 in b; commit 1a2b3c4 in a and c and 5d6e7f8 "
         "in b. Rounding and defaults can differ, so answers can differ after some tokens", ""),
        ([built("a"), built("o", program="Ollama", version="0.13.5", commit=None), built("b")],
         "program", {"a": "llama.cpp", "o": "Ollama", "b": "llama.cpp"},
         "The programs that compute differ: llama.cpp in a and b and Ollama in o. ", ""),
        ([built("a", **{LAUNCH: "--ctx-size 256 --flash-attn on"}),
          built("b", **{LAUNCH: "--flash-attn off --ctx-size 256 --mlock"}), built("c")],
         LAUNCH, {"a": "--ctx-size 256 --flash-attn on", "b": "--flash-attn off --ctx-size 256 --mlock"},
         "The servers were started with different arguments: --flash-attn on only in a; --flash-attn off and --mlock "
         "only in b. ", ""),
        *(([side("a"), side("b", facts={**FACTS, name: "7"}), side("c", facts={})],
           name, {"a": FACTS[name], "b": "7", "c": None}, "7 in b; c does not report it", "")
          for name in sorted(FACTS.keys() - {"chat template", "batch size", "program", "origin"})),
    ],
)  # fmt: skip
def test_each_single_difference_is_reported(sides, what, values, message, advice):
    finding = only(sides)
    assert (finding.what, finding.values) == (what, values)
    assert finding.advice == (advice and f"To level it: {advice}")
    assert message in finding.sentence


# Prompts


def test_a_default_system_prompt_is_quoted_and_can_be_given_to_all_engines():
    finding = only(
        [side("a", tokens=39), side("b", tokens=18, prompt=WITHOUT), side("c", tokens=39, prompt=None)]
    )
    assert finding.what == "prompt tokens"
    assert finding.values == {"a": 39, "b": 18, "c": 39}
    assert "The prompt is 39 tokens in a and c and 18 tokens in b." in finding.sentence
    assert f'b omits "system\\n{SYSTEM}<|im_end|>\\n<|im_start|>".' in finding.sentence
    assert finding.sentence.endswith("the default system prompt of the chat template in a.")
    assert finding.system == SYSTEM
    assert finding.advice.endswith(f"--system '{SYSTEM}'")


# Models and machine


def test_engines_of_the_same_origin_have_the_same_build():
    silent = dict.fromkeys(BUILD)
    assert check_parity([built("a", "there", **silent), built("b", "there", **silent)]).unknown == ()
    parity = check_parity([built("a", "there", **silent), built("b", "here", **silent)])
    assert [(it.what, it.names) for it in parity.unknown] == [("a", tuple(BUILD)), ("b", tuple(BUILD))]
    assert parity.remark.startswith("Rounding depends on version, commit, compiler and instructions:")


MAY_CHANGE = (Caution(code="may-change-requests", sentence="It can."),)


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        (side("a"), side("b", prompt=None), ("prompt",)),
        (built("a"), built("b", program=None), ("program",)),
        (side("a", tokens=9), side("b", tokens=9, prompt=None), ("text of the prompt",)),
        (side("a"), side("b", facts={**FACTS, "flash attention": None}), ("flash attention",)),
        # a commit determines the version
        (built("a"), built("b", version=None, compiler=None), ("compiler",)),
        # an option that is set in one engine does not tell what the other one does
        (side("a", options={"n_ctx": 512}), side("b", Served, context=None), ("context",)),
        (side("a"), side("b", cautions_of_model=MAY_CHANGE), ("changes to requests",)),
        # numbers in single precision are the same
        (side("a"), side("b", sampling={**SAMPLING, "repeat_penalty": 1.00000002}), ()),
    ],
)
def test_facts_that_one_engine_does_not_report_are_unknown(one, other, names):
    parity = check_parity([one, other])
    assert parity.findings == ()
    assert [(it.what, it.names) for it in parity.unknown] == ([("b", names)] if names else [])
    assert parity.remark.startswith("Rounding depends on ") is (
        names[:1] in (("compiler",), ("flash attention",), ("program",))
    )


def test_before_a_run_the_set_options_and_defaults_are_compared():
    def waiting(name, **options):
        definition = EngineDefinition(name=name, backend="paper", model="m", options=options)
        return Side(name=name, definition=definition, backend=Local(), loaded=side().loaded)

    finding = only([waiting("a", temperature=0.0), waiting("b", temperature=0.7)])
    assert (finding.what, finding.values) == ("temperature", {"a": 0.0, "b": 0.7})
    assert finding.is_alarm, "setting an option in all engines does not make its values the same"


def values_of(info):
    """Return two values of an option, other than its default."""
    if info.choices:
        values = info.choices
    elif "true or false" in info.kind:
        values = (True, False)
    elif "number" in info.kind:
        low = info.minimum if info.minimum is not None else 1
        values = (
            (low + 256, low + 512)
            if info.maximum is None or info.maximum > low + 512
            else (low, info.maximum)
        )
    else:
        values = ("one", "two")
    return values[:2]


OURS = [name for name, it in Registry().all().items() if type(it).__module__.startswith("paragone_")]


@pytest.mark.parametrize("backend", OURS)
def test_every_option_is_compared_or_states_why_not(backend):
    found = Registry().get(backend)
    options = [*describe(found.load_options), *describe(found.sampling), *describe(ContextOptions)]
    for info in options:
        sides = [
            Side(
                name=name,
                definition=EngineDefinition(
                    name=name,
                    backend=backend,
                    model="m",
                    options={"temperature": 1.0, "repeat_penalty": 1.1, info.name: value},
                ),
                backend=found,
                loaded=None,
            )
            for name, value in zip("ab", values_of(info), strict=True)
        ]
        alarms = [it.what for it in check_parity(sides).findings if it.is_alarm]
        assert alarms == ([] if info.same_answers else [info.name]), info.name
