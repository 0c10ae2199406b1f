"""Brief names of engines in sentences."""

import pytest

from paragone_workbench.blocks import brief_names, briefly

FILE = "SmolLM2-135M-Instruct-with-a-long-name"


@pytest.mark.parametrize(
    ("names", "brief"),
    [
        ([f"{FILE}.Q4_0.gguf", f"{FILE}.Q4_K_M.gguf"], ["Q4_0", "Q4_K_M"]),
        ([f"{FILE}.Q8_0.gguf", f"{FILE}.IQ3.gguf"], ["Q8_0", "IQ3"]),
        ([f"{FILE}.gguf", f"another-{FILE}.gguf"], [f"{FILE}.gguf", f"another-{FILE}.gguf"]),
        ([FILE, f"{FILE}-Q4"], [FILE, f"{FILE}-Q4"]),
        (["a.gguf", "b.gguf"], ["a.gguf", "b.gguf"]),
        ([f"{FILE}.gguf"], [f"{FILE}.gguf"]),
    ],
)
def test_common_parts_of_long_names_are_dropped(names, brief):
    found = brief_names(names)
    assert found == dict(zip(names, brief, strict=True))
    assert briefly(f"Deploy {names[-1]}, not {names[0]}.", found) == f"Deploy {brief[-1]}, not {brief[0]}."
