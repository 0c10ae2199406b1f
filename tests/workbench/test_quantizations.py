"""Which models are other quantizations of an engine's model."""

import dataclasses

import pytest

from paragone import ModelInfo
from paragone_workbench.measure.fit import find_siblings

from .test_planner import Scripted, planner


def info(path, quantization, name="", **facts):
    known = {"architecture": "llama", "context": 8192, **facts}
    return ModelInfo(model=path, name=name or path.rpartition("/")[2], quantization=quantization, **known)


class Shelf(Scripted):
    """A test double: a backend with a list of models."""

    def __init__(self, *listed):
        super().__init__()
        self.listed = listed

    async def models(self, folders):
        self.searched = list(folders)
        return self.listed


async def siblings(own, *others):
    found, models = await find_siblings(planner(model=own.model)._definition, Shelf(own, *others), ())
    assert found == own
    return models


OWN = info("/m/Small-1B-Instruct.Q4_K_M.gguf", "Q4_K_M", size=4)


@pytest.mark.parametrize(
    ("other", "is_one"),
    [
        (info("/other/Small-1B-Instruct.Q8_0.gguf", "Q8_0"), True),
        (info("/m/small-1b-instruct-f16.gguf", "F16"), True),
        (info("/m/Small-1B-Instruct-Q8_0-00001-of-00002.gguf", "Q8_0"), True),
        (info("/m/Small-1B-Instruct-exl2-4.0bpw", "EXL2 4.0 bpw"), True),
        (info("/hub/model.gguf", "Q8_0", name="Small 1B Instruct"), True),
        (info("/m/Small-1B.Q8_0.gguf", "Q8_0"), False),
        (info("/m/Small-3B-Instruct.Q8_0.gguf", "Q8_0"), False),
        (info("/m/Small-1B-Instruct.Q8_0.gguf", "Q8_0", architecture="qwen3"), False),
        (info("/m/Small-1B-Instruct.Q8_0.gguf", "Q8_0", context=4096), False),
        (info("/m/Small-1B-Instruct.Q8_0.gguf", "Q8_0", problem="is truncated"), False),
    ],
    ids=str,
)
async def test_models_that_differ_only_in_quantization_are_siblings(other, is_one):
    own = OWN if other.name != "Small 1B Instruct" else info(OWN.model, "Q4_K_M", name="Small 1B Instruct")
    small = dataclasses.replace(own, quantization="Q2_K", model="/m/Small-1B-Instruct.Q2_K.gguf", size=2)
    assert await siblings(own, small, other) == ([small, other] if is_one else [small])


async def test_the_folder_of_the_model_is_searched_unless_the_home_folder_is_in_it(tmp_path, home):
    (tmp_path / "models").mkdir()
    for folder, is_searched in ((tmp_path / "models", True), (home, False), (home.parent, False)):
        backend = Shelf()
        model = str(folder / "a.gguf")
        assert await find_siblings(planner(model=model)._definition, backend, ("/mine",)) == (None, [])
        assert (str(folder) in backend.searched) == is_searched
        assert "/mine" in backend.searched
