"""CSS of Textual's apps that all tests of a folder parse once."""

from collections.abc import Iterator
from typing import Any

import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation


@pytest.fixture(scope="package", autouse=True)
def parse_styles_once() -> Iterator[None]:
    """Parse each piece of CSS once for all apps. Each app, and each screen that it opens, would parse all of it again."""
    parsed: dict[tuple[object, ...], list[RuleSet]] = {}
    parse = Stylesheet._parse_rules

    def parse_once(
        self: Stylesheet, css: str, read_from: CSSLocation, *args: Any, **options: Any
    ) -> list[RuleSet]:
        key = (css, read_from, args, *options.items(), *self._variables.items())
        if key not in parsed:
            parsed[key] = parse(self, css, read_from, *args, **options)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        yield
