"""Text that is safe to print on the terminal, and bars as text."""

from paragone_workbench.text import visible

__all__ = ["bar", "one_line", "visible"]


_EIGHTHS: tuple[str, ...] = ("", *"▏▎▍▌▋▊▉")


def one_line(text: str) -> str:
    return visible(text).replace("\n", " ")


def bar(fraction: float, cells: int) -> str:
    """Return the filled part of a bar, in eighths of a cell. The bar has `cells` cells if `fraction` is 1."""
    full, rest = divmod(round(max(0.0, min(1.0, fraction)) * cells * 8), 8)
    return "█" * full + _EIGHTHS[rest]
