"""The least that a Textual program can be: three widgets, one of them to type in."""

from textual.app import App, ComposeResult
from textual.widgets import Input, Static


class Bare(App[None]):
    """Three widgets."""

    def compose(self) -> ComposeResult:
        """A heading, a field, a foot."""
        yield Static("A program")
        yield Input(placeholder="Type here")
        yield Static("q quits")


if __name__ == "__main__":
    Bare().run()
