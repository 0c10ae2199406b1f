"""Standard facts of models at servers, with doubles of servers: by these, engines are compared."""

from hostile_server import OLLAMA, OPENAI

from paragone_remote.openai_api.servers import sampling_facts

from .conftest import PROPS


def test_samplers_that_no_option_sets():
    off = {"mirostat": 0, "dry_multiplier": 0.0, "typical_p": 1.0, "top_n_sigma": -1.0}
    assert sampling_facts(off) == {"other samplers": "none"}
    on = {**off, "mirostat": 2, "typical_p": 0.5}
    assert sampling_facts(on) == {"other samplers": "mirostat 2, typical_p 0.5"}
    assert sampling_facts({}) == sampling_facts({"mirostat": "2"}) == {}


async def test_quantizations_have_their_standard_names(serve, open_lane):
    for told, standard in (
        ("Q4_K - Medium", "Q4_K_M"),
        ("Q2_K - Medium", "Q2_K"),
        ("(guessed) IQ4_XS - 4.25 bpw", "IQ4_XS"),
        ("unknown, may not work", None),
    ):
        listed = {"data": [{"id": "m", "meta": {"n_params": 134515008, "ftype": told}}]}
        loaded = (await open_lane(await serve(OPENAI, {"/props": PROPS, "/v1/models": listed}))).engine.loaded
        assert loaded.quantization == standard
        assert loaded.facts["parameters"] == "134515008"


async def test_what_ollama_is_told_and_tells(serve, open_lane):
    info = {"general.architecture": "llama", "general.parameter_count": 134515008}
    server = await serve(OLLAMA, {"/api/show": {"model_info": info}})
    plain = (await open_lane(server)).engine.loaded.facts
    assert plain["parameters"] == "134515008"
    assert not {"threads", "batch size"} & plain.keys()
    facts = (await open_lane(server, num_thread=2, num_batch=64)).engine.loaded.facts
    assert (facts["threads"], facts["batch size"]) == ("2", "64")
    assert (facts["program"], facts["version"], facts["origin"]) == ("Ollama", "0.13.5", server.url)


async def test_the_build_that_a_llama_server_tells(serve, open_lane):
    for build, commit in (("b9123-1a2b3c4", "1a2b3c4"), ("b0-unknown", None)):
        server = await serve(OPENAI, {"/props": {"total_slots": 1, "build_info": build}})
        facts = (await open_lane(server)).engine.loaded.facts
        assert (facts["program"], facts.get("commit")) == ("llama.cpp", commit)


SWAPPED = {"data": [{"id": "m", "owned_by": "llama-swap"}]}
COMMAND = "llama-server --port ${PORT} -m m.gguf \\\n --api-key secret --flash-attn on -c=4096 --mlock"


async def test_what_llama_swap_tells_and_does_not_tell(serve, open_lane):
    running = {"running": [{"model": "other", "cmd": "x -c 1"}, {"model": "m", "cmd": COMMAND}]}
    loaded = (
        await open_lane(await serve(OPENAI, {"/v1/models": SWAPPED, "/running": running}))
    ).engine.loaded
    assert loaded.facts["launch arguments"] == "--flash-attn on -c 4096 --mlock"
    assert "program" not in loaded.facts
    assert [caution.code for caution in loaded.cautions] == ["may-change-requests"]
