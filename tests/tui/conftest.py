"""Fixtures of the tests of widgets."""

from pilot_pause import pause_until_at_rest as pause_until_at_rest
