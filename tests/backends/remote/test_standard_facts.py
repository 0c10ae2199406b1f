"""Standard facts of models at servers, with doubles of servers: by these, engines are compared."""

import pytest
from hostile_server import OLLAMA, OPENAI

from paragone_remote.openai_api.server_defaults import facts_in_props, facts_in_schema


def params(**told):
    return {"default_generation_settings": {"n_ctx": 64, "params": told}}


def test_samplers_that_no_option_sets():
    off = {"mirostat": 0, "dry_multiplier": 0.0, "typical_p": 1.0, "top_n_sigma": -1.0}
    assert facts_in_props(params(**off)) == {"other samplers": "none"}
    on = {**off, "mirostat": 2, "typical_p": 0.5}
    assert facts_in_props(params(**on)) == {"other samplers": "mirostat 2, typical_p 0.5"}
    assert facts_in_props({}) == facts_in_props(params(mirostat="2")) == {}


def test_adapters():
    assert facts_in_props(params(lora=[])) == {"LoRA adapter": "none"}
    assert facts_in_props(params(lora=[{"id": 0, "scale": 1.0}])) == {"LoRA adapter": "1 of the server's"}


def test_samplers_in_a_schema():
    fields = {"mirostat_mode": {"type": "integer", "default": 0}, "top_k": {"default": 40}}
    described = {"components": {"schemas": {"Chat": {"properties": fields}}}}
    assert facts_in_schema(described, "Chat") == {"other samplers": "none"}
    assert facts_in_schema(described, "Other") == {}


@pytest.mark.parametrize(
    ("told", "standard"),
    [
        ("Q4_1", "Q4_1"),
        ("Q4_K - Medium", "Q4_K_M"),
        ("Q3_K - Large", "Q3_K_L"),
        ("Q2_K - Medium", "Q2_K"),
        ("(guessed) IQ4_XS - 4.25 bpw", "IQ4_XS"),
        ("all F32", "F32"),
        ("unknown, may not work", None),
    ],
)
async def test_quantizations_have_their_standard_names(serve, open_lane, told, standard):
    meta = {"n_params": 134515008, "ftype": told}
    replies = {"/props": params(), "/v1/models": {"data": [{"id": "m", "meta": meta}]}}
    loaded = (await open_lane(await serve(OPENAI, replies))).engine.loaded
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
