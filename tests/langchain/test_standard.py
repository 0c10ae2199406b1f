"""LangChain's standard tests of chat models, with the real SmolLM2. Without LangChain they skip: `make test-langchain`."""

import pytest

pytest.importorskip("langchain_tests", reason="LangChain is not installed: run `make test-langchain`")

from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from paragone_langchain import ChatParagone


class SmolLM2:
    """What the tests need to know of the model."""

    @pytest.fixture(autouse=True)
    def model_file(self, whole_smollm2):
        self.file = whole_smollm2

    @property
    def chat_model_class(self):
        return ChatParagone

    @property
    def chat_model_params(self):
        return {"model": f"llama_cpp:{self.file}", "options": {"n_ctx": 1024, "n_threads": 1}}

    @property
    def standard_chat_model_params(self):
        return {"temperature": 0, "max_tokens": 120, "stop": []}  # there are no keys, time limits and retries

    @property
    def supports_image_inputs(self):
        return False

    @property
    def supports_model_override(self):
        return False


@pytest.mark.model
class TestUnit(SmolLM2, ChatModelUnitTests):
    pass


@pytest.mark.model
class TestIntegration(SmolLM2, ChatModelIntegrationTests):
    pass
