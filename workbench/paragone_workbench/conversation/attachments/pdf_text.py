"""The text of PDFs, by the package pypdf."""

from __future__ import annotations

import io
import logging

from paragone import InputError
from paragone.installation import install_command
from paragone.wording import size_text


def pdf_text(content: bytes, shown: str, largest: int) -> str:
    """Return the text of all pages of a PDF, at most `largest` characters. `shown` is its name, for people.

    Raises InputError if pypdf is not installed, and if the PDF is damaged, encrypted, or without text.
    """
    try:
        import pypdf
    except ModuleNotFoundError as error:
        if error.name != "pypdf":
            raise
        raise InputError(
            "The text of PDFs needs the package pypdf, which is not installed.",
            hint=f"To install it: {install_command('pdf')}",
        ) from error
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # else warnings are printed over the screen
    pages: list[str] = []
    length = 0
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise InputError(f"{shown} is encrypted.", hint="Save a copy without a password.")
        for page in reader.pages:
            pages.append(page.extract_text().strip())
            length += len(pages[-1])
            if length > largest:
                raise InputError(f"The text of {shown} is longer than {size_text(largest)}.")
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise InputError(f"The PDF {shown} cannot be read: {reason}.") from error
    if not length:
        raise InputError(
            f"{shown} has no text: its pages are pictures.",
            hint="Attach its pages as images, or use a program that recognizes text.",
        )
    return "\n\n".join(filter(None, pages))
