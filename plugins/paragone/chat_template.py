"""Chat templates, which render messages as the text of a prompt, with limits of time and memory."""

import ctypes
import json
import resource
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from paragone import InputError, Message
from paragone.shared_options import Thinking, thinking_choice

SECONDS = 5.0
CPU_SECONDS = 60.0
"""Seconds of CPU time, of all threads, after which the kernel ends the process."""
MEMORY = 256 << 20

_PAGE = resource.getpagesize()


class _OutOfTimeError(BaseException):
    """The time is up. A timer's thread raises this error, which `except Exception` does not catch, in the guarded thread."""


@contextmanager
def limit_time_and_memory() -> Iterator[None]:
    """Interrupt the code in the block after SECONDS, or when the code takes more than MEMORY bytes.

    Raises TimeoutError or MemoryError, which completes the phrase “takes too …”. The time limit works between Python bytecodes, so it does not interrupt a single call into C. After
    CPU_SECONDS, SIGPROF ends the whole process, so only workers may use this function. The memory limit works only on Linux
    and applies to the whole process.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    done = False

    def interrupt() -> None:
        with lock:
            if not done:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_OutOfTimeError))

    timer = threading.Timer(SECONDS, interrupt)
    timer.daemon = True
    limits = _limit_memory(MEMORY)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    timer.start()
    try:
        try:
            try:
                yield
            finally:
                with lock:
                    done = True
                    # Cancel an interrupt that is already pending: it must not be raised outside the block.
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
        finally:
            timer.cancel()
            signal.setitimer(signal.ITIMER_PROF, 0)
            if limits is not None:
                resource.setrlimit(resource.RLIMIT_AS, limits)
    except _OutOfTimeError:
        raise TimeoutError("long") from None
    except MemoryError:
        raise MemoryError("much memory") from None


def _limit_memory(more: int) -> tuple[int, int] | None:
    """Limit the process to `more` additional bytes of address space, and return the previous limits."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * _PAGE + more
    if soft != resource.RLIM_INFINITY and soft <= wanted:
        return None
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    return soft, hard


_LARGEST = 1 << 20
"""Largest number of characters of a template, and largest operand of a product in a template.

Real templates are smaller.
"""


_LONGEST = 1 << 24
"""Largest number of characters of a rendered prompt: more than the largest context holds."""


class _Generation(Extension):
    """Renders the body of `{% generation %}`, which marks the assistant's part for training."""

    tags: ClassVar[set[str]] = {"generation"}  # type: ignore[misc]

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        parser.stream.skip(1)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        # One product or power can take very long, and the time limit cannot interrupt it.
        for factor in (left, right):
            size = (
                abs(factor) if isinstance(factor, int) else len(factor) if hasattr(factor, "__len__") else 0
            )
            if size > _LARGEST or (operator == "**" and size > 64):
                raise OverflowError("a product too large for a chat template")
        return super().call_binop(context, operator, left, right)


class ChatTemplate:
    """A parsed chat template."""

    def __init__(self, source: str, *, bos: str, eos: str, owner: str) -> None:
        """Parse a template. Error messages name the template's `owner`. Raises InputError."""
        self.source = source
        self._bos = bos
        self._eos = eos
        self._owner = owner
        if len(source) > _LARGEST:
            raise self._failure(f"is {len(source):,} characters long")
        sandbox = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        sandbox.filters["tojson"] = _tojson
        # The filter `round` can compute a huge power of ten in one step, and no template needs this filter.
        del sandbox.filters["round"]
        sandbox.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        try:
            with limit_time_and_memory():
                self._template = sandbox.from_string(source)
        except (TimeoutError, MemoryError) as error:
            raise self._failure(f"takes too {error} to parse") from error
        except Exception as error:  # an untrusted template can fail in any way
            raise self._failure(f"cannot be parsed: {_message(error)}") from error

    def render(self, messages: Sequence[Message], *, generate: bool, thinking: Thinking) -> str:
        """Return the prompt. With `generate`, the prompt ends where the assistant's answer begins.

        `thinking` is the value of the option `thinking`. Raises InputError.
        """
        chosen = thinking_choice(thinking)
        named = {
            "enable_thinking": chosen.enabled,  # Qwen, SmolLM3 and most others
            "thinking": chosen.enabled,  # DeepSeek, Granite
            "reasoning_effort": chosen.effort,  # gpt-oss
            "thinking_budget": chosen.budget,  # Seed-OSS
        }
        variables: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        variables |= {
            "messages": [_variables(message) for message in messages],
            "add_generation_prompt": generate,
            "bos_token": self._bos,
            "eos_token": self._eos,
            "tools": None,
        }
        pieces: list[str] = []
        length = 0
        try:
            with limit_time_and_memory():
                for piece in self._template.generate(variables):
                    length += len(piece)
                    if length > _LONGEST:
                        raise MemoryError("much memory")
                    pieces.append(piece)
                return "".join(pieces)
        except (TimeoutError, MemoryError) as error:
            raise self._failure(f"takes too {error} to render") from error
        except Exception as error:  # an untrusted template can fail in any way
            if type(error) is jinja2.TemplateError:  # it has called `raise_exception`
                raise self._failure(f"refuses these messages: {_message(error)}", hint="") from error
            raise self._failure(f"cannot be rendered: {_message(error)}") from error

    def _failure(
        self, what: str, hint: str = "Set another chat template with the option chat_template."
    ) -> InputError:
        return InputError(f"The chat template of {self._owner} {what}.", hint=hint)


def _message(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, jinja2.TemplateSyntaxError):
        text = f"{text.rstrip('.')} (line {error.lineno})"
    return text.rstrip(".").replace("\n", " ")[:300]


def _variables(message: Message) -> dict[str, str]:
    variables = {"role": message.role, "content": message.text}
    if message.thinking:
        # Two names for the same value: Qwen's and DeepSeek's templates use the first, gpt-oss the second.
        variables["reasoning_content"] = variables["thinking"] = message.thinking
    return variables


def _raise_exception(message: object) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # As in Hugging Face's `transformers`. Jinja's own filter escapes HTML.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
