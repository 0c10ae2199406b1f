"""No backend may import another: what two of them need alike is the same text in both."""

from pathlib import Path

import pytest

import paragone_exllama
import paragone_llama_cpp


@pytest.mark.parametrize("name", ["text.py", "template.py", "guard.py"])
def test_what_keeps_hostile_templates_in_check_is_the_same_in_both(name):
    ours = Path(paragone_exllama.__file__).with_name(name).read_text()
    theirs = Path(paragone_llama_cpp.__file__).with_name(name).read_text()
    assert ours == theirs.replace("paragone_llama_cpp", "paragone_exllama")
