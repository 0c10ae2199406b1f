"""The program that reads one PDF from standard input, with limits of time and memory.

A small PDF can require gigabytes of memory and hours of CPU time. The program writes a JSON object with `text` to standard
output, or with `error` and, for a damaged PDF, `reason`. The kernel ends the program when its CPU time is used up.
"""

import contextlib
import io
import json
import logging
import resource
import sys


def text_of(content: bytes, largest: int) -> dict[str, str]:
    """Return the `text` of all pages, at most `largest` characters, or the `error`."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    pages: list[str] = []
    length = 0
    reader = pypdf.PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        return {"error": "encrypted"}
    for page in reader.pages:
        pages.append(page.extract_text().strip())
        length += len(pages[-1])
        if length > largest:
            return {"error": "long"}
    return {"text": "\n\n".join(filter(None, pages))}


def main() -> None:
    """Read a PDF. The arguments are the limits: characters of text, seconds of CPU time, and bytes of memory."""
    largest, seconds, memory = map(int, sys.argv[1:])
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, seconds)
    with contextlib.suppress(ValueError, OSError):  # macOS does not limit memory
        _limit(resource.RLIMIT_AS, memory)
    try:
        result = text_of(sys.stdin.buffer.read(), largest)
    except MemoryError:
        result = {"error": "memory"}
    except Exception as error:  # noqa: BLE001 (pypdf raises many kinds for damaged files)
        result = {"error": "damaged", "reason": str(error).strip().rstrip(".") or type(error).__name__}
    sys.stdout.write(json.dumps(result))


def _limit(what: int, most: int) -> None:
    """Set a limit of this process, but not above the system's own limit."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main()
