"""Reads the prompt and its files from the command line and standard input, and makes a request of them."""

import sys
from dataclasses import replace

from paragone import InputError, Message
from paragone.texts import quoted
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.output import at_terminal, warn
from paragone_workbench.conversation.attached_files import read_files
from paragone_workbench.conversation.tree import with_sections
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.text import is_utf8

LARGEST = 2**24
"""Largest size in bytes of a prompt from standard input."""


_WRITE = "Write it after --prompt, or pipe it in."


def prompt_spec(args: Arguments, prompt: str | None, context: CommandContext) -> RunSpec:
    """Return the request that the arguments and the prompt describe. Raises InputError."""
    if args.variables and args.template is None:
        raise InputError("--var needs --template.", hint="Only templates have variables.")
    if args.logprobs is not None and not args.json:
        raise InputError("--logprobs needs --json.", hint="Only the JSON output contains log-probabilities.")
    attached = [read_files(path) for path in args.attached]
    for message in (message for found in attached for message in found.left_out):
        warn(f"Not attached: {message}")
    text = _read_prompt(prompt) if args.template is None else _filled_template(args, prompt, context)
    spec = RunSpec.of_prompt(
        with_sections(text, [file for found in attached for file in found.files]),
        images=[image for found in attached for image in found.images],
        system=context.system_prompt(args),
        logprobs=args.logprobs,
    )
    if not args.begin:
        return spec
    return replace(spec, messages=(*spec.messages, Message(role="assistant", text=args.begin)))


def _filled_template(args: Arguments, prompt: str | None, context: CommandContext) -> str:
    """Return the filled template. The prompt is the value of the template's variable `prompt`, if it has this variable."""
    from paragone_workbench.config.settings import TEMPLATE_PROMPT, fill_template, find_named
    from paragone_workbench.conversation.variables import names_in

    assert args.template is not None
    template = find_named("template", args.template, context.config.templates)
    values: dict[str, str] = {}
    for given in args.variables:
        name, equals, value = given.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{quoted(given)} is not a variable.", hint="Write --var NAME=VALUE.")
        values[name.strip()] = value
    if TEMPLATE_PROMPT in names_in(template) and TEMPLATE_PROMPT not in values:
        values[TEMPLATE_PROMPT] = _read_prompt(prompt)
    elif prompt is not None:
        raise InputError(
            f"The template {args.template!r} has no place for the prompt.",
            hint="The prompt replaces {{ prompt }} in a template, unless --var sets that variable.",
        )
    return fill_template(args.template, template, values)


def _read_prompt(given: str | None) -> str:
    """Return the prompt: `given`, or standard input if `given` is None or `-`.

    If a prompt is given and standard input is not a terminal, the text of standard input is appended after an empty
    line. One trailing newline of standard input is removed. Raises InputError.
    """
    if given is None and at_terminal():
        raise InputError("There is no prompt.", hint=_WRITE)
    if given is None or given == "-":
        prompt = _read()
    else:
        piped = "" if at_terminal() else _read()
        prompt = f"{given}\n\n{piped}" if piped.strip() else given
    if not prompt.strip():
        raise InputError("The prompt is empty.", hint=_WRITE)
    if not is_utf8(prompt):
        raise InputError("The prompt is not UTF-8 text.")
    return prompt


def _read() -> str:
    if sys.stdin is None:  # closed by the parent process
        return ""
    try:
        content = sys.stdin.buffer.read(LARGEST + 1)  # the stream may have no end
        if len(content) > LARGEST:
            raise InputError(
                f"Standard input is longer than {LARGEST // 2**20} MiB.", hint="No model can read that much."
            )
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError("Standard input is not UTF-8 text.") from error
    except OSError as error:
        raise InputError(f"Standard input cannot be read: {error.strerror or error}.") from error
    return text.removesuffix("\n").removesuffix("\r")
