"""The active settings that a run reports, and the standard facts of servers."""

from hostile_server import OLLAMA, OPENAI

from paragone import RunSettings
from paragone_remote.openai_servers import sampling_facts

from .conftest import PROPS, SERVERS, codes, settings_of

DEFAULTS = {
    "seed": 2**32 - 1,
    "temperature": 0.800000011920929,
    "top_k": -1,
    "top_p": 0.949999988079071,
    "min_p": 0.05000000074505806,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "max_tokens": -1,
}


def llama_server(**more):
    settings = {"n_ctx": 4096, "params": DEFAULTS}
    props = {**PROPS, "default_generation_settings": settings, **more}
    return {"/props": props, "/apply-template": {"prompt": "<user>Hello?"}}


async def test_a_random_seed_is_sent_to_servers_that_respect_seeds(serve, open_lane):
    for protocol, replies in ((OLLAMA, {}), (OPENAI, llama_server()), (OPENAI, SERVERS["vLLM"])):
        server = await serve(protocol, replies)
        lane = await open_lane(server)
        assert lane.engine.loaded.capabilities.seed
        runs = [await lane.ask() for _ in range(2)]
        told = [settings_of(events) for events, _ in runs]
        options = [chat.body.get("options", chat.body) for chat in server.chats]
        assert [settings.seed for settings in told] == [sent["seed"] for sent in options]
        assert [settings.sampling["seed"] for settings in told] == [settings.seed for settings in told]
        assert told[0].seed != told[1].seed
        assert all(0 <= settings.seed < 2**32 - 1 for settings in told)
        events, _ = await lane.ask(seed=2**32 - 2)
        assert settings_of(events).seed == 2**32 - 2


async def test_no_random_seed_is_sent_to_servers_that_may_ignore_it(serve, open_lane):
    server = await serve(OPENAI)
    lane = await open_lane(server)
    assert not lane.engine.loaded.capabilities.seed
    events, _ = await lane.ask()
    assert settings_of(events) == RunSettings()
    events, _ = await lane.ask(seed=7, top_k=3)
    assert settings_of(events) == RunSettings(seed=None, sampling={"seed": 7, "top_k": 3})
    assert ["seed" in chat.body for chat in server.chats] == [False, True]


async def test_a_refused_seed_is_not_reported_as_active(serve, open_lane):
    async def chat(exchange):
        if "seed" in exchange.request.body:
            await exchange.refuse(400, {"error": "unknown field: seed"})
        else:
            await exchange.answer("Hello.")

    server = await serve(OPENAI, llama_server())
    server.on_chat = chat
    lane = await open_lane(server)
    events, error = await lane.ask()
    assert error is None
    assert settings_of(events).seed is None
    assert "seed" not in settings_of(events).sampling
    assert codes(events) == []  # nobody asked for one
    events, _ = await lane.ask(seed=3)
    assert settings_of(events).seed is None
    assert codes(events) == ["option-refused"]
    assert not (await open_lane(server)).engine.loaded.capabilities.seed


async def test_unset_options_have_the_modelfiles_values(serve, open_lane):
    parameters = (
        'stop                           "<|im_start|>"\n'
        'stop                           "\\"\\x00é\\n"\n'
        "temperature                    0.6\n"
        "top_k                          20\n"
        "num_predict                    -1\n"
        "repeat_last_n                  -1\n"
        "top_p                          NaN\n"
        "num_ctx                        4096\n"
        "min_p\n"
    )
    shown = {"template": "{{ .Messages }}", "parameters": parameters, "model_info": {}}
    lane = await open_lane(await serve(OLLAMA, {"/api/show": shown}))
    events, _ = await lane.ask(seed=1, temperature=0, thinking=False)
    assert settings_of(events).sampling == {
        "stop": ["<|im_start|>", '"\x00é\n'],
        "temperature": 0.0,
        "top_k": 20,
        "max_tokens": None,
        "repeat_last_n": -1,
        "seed": 1,
        "thinking": False,
    }


def test_active_samplers_that_have_no_option_in_paragone_are_reported():
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


async def test_ollamas_settings_are_sent_and_reported(serve, open_lane):
    info = {"general.architecture": "llama", "general.parameter_count": 134515008}
    server = await serve(OLLAMA, {"/api/show": {"model_info": info}})
    plain = (await open_lane(server)).engine.loaded.facts
    assert plain["parameters"] == "134515008"
    assert not {"threads", "batch size"} & plain.keys()
    facts = (await open_lane(server, num_thread=2, num_batch=64)).engine.loaded.facts
    assert (facts["threads"], facts["batch size"]) == ("2", "64")
    assert (facts["program"], facts["version"], facts["origin"]) == ("Ollama", "0.13.5", server.url)


async def test_the_build_of_a_llama_server_is_read(serve, open_lane):
    for build, commit in (("b9123-1a2b3c4", "1a2b3c4"), ("b0-unknown", None)):
        server = await serve(OPENAI, {"/props": {"total_slots": 1, "build_info": build}})
        facts = (await open_lane(server)).engine.loaded.facts
        assert (facts["program"], facts.get("commit")) == ("llama.cpp", commit)


SWAPPED = {"data": [{"id": "m", "owned_by": "llama-swap"}]}
COMMAND = "llama-server --port ${PORT} -m m.gguf \\\n --api-key secret --flash-attn on -c=4096 --mlock"


async def test_facts_behind_llama_swap_are_read_or_unknown(serve, open_lane):
    running = {"running": [{"model": "other", "cmd": "x -c 1"}, {"model": "m", "cmd": COMMAND}]}
    loaded = (
        await open_lane(await serve(OPENAI, {"/v1/models": SWAPPED, "/running": running}))
    ).engine.loaded
    assert loaded.facts["launch arguments"] == "--flash-attn on -c 4096 --mlock"
    assert "program" not in loaded.facts
    assert [caution.code for caution in loaded.cautions] == ["may-change-requests"]
