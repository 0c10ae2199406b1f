"""A minimal Textual program, the baseline for the screen: three widgets, one of them an input field."""

from textual.app import App, ComposeResult
from textual.widgets import Input, Static


class Bare(App[None]):
    """A heading, an input field and a footer."""

    def compose(self) -> ComposeResult:
        """Yield the three widgets."""
        yield Static("A program")
        yield Input(placeholder="Type here")
        yield Static("q quits")


if __name__ == "__main__":
    Bare().run()
