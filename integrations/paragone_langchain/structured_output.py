"""Make a model whose answers follow a schema and are parsed by that schema."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass


def structured(
    model: BaseChatModel, schema: dict[str, Any] | type, *, include_raw: bool
) -> Runnable[LanguageModelInput, Any]:
    """Return a model whose engine must follow a schema, followed by a parser of the answers."""
    # A strict schema forbids further properties, which small models invent.
    strict = convert_to_json_schema(schema, strict=True)
    traced = {"kwargs": {"method": "json_schema"}, "schema": convert_to_json_schema(schema)}
    bound = model.bind(json_schema=json.dumps(strict), ls_structured_output_format=traced)
    parser: BaseOutputParser[Any] = (
        PydanticOutputParser(pydantic_object=schema)
        if isinstance(schema, type) and is_basemodel_subclass(schema)
        else JsonOutputParser()
    )
    if not include_raw:
        return bound | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")
