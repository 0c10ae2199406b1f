"""Fixtures of the tests of widgets."""

from parsed_styles import parse_styles_once as parse_styles_once
from pilot_pause import pause_until_at_rest as pause_until_at_rest
