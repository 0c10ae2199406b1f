"""The options of engines at servers. This module does not import the HTTP library."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

from paragone import Capabilities, InputError, Options, gguf, json_values, network, option, texts
from paragone import shared_options as shared


def clean_lines(text: str, *, kept: str = "\n\t") -> str:
    """Return `text` with its line breaks and tabs. Other unprintable characters become `�`."""
    return "".join(
        sign if sign.isprintable() or sign in kept else "\N{REPLACEMENT CHARACTER}" for sign in text
    )


def sentence_of(text: str) -> str:
    """Return a server's text as one line that ends with a full stop."""
    words = plain(text)
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."


def without_surrogates(text: str) -> str:
    """Return a text with lone surrogates replaced. JSON allows lone surrogates, but UTF-8 files do not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


_LONGEST = 300
"""Largest number of characters of a server's text to quote."""


def plain(text: str) -> str:
    """Return `text` as one line of at most `_LONGEST` characters. Unprintable characters become `�`."""
    return texts.shortened(clean_lines(" ".join(text[: _LONGEST * 4].split()), kept=""), _LONGEST)


_COMPARED = "It names what is compared."
_CONNECTION = "It decides how a server is reached, not what it computes."
_PATIENCE = "It decides how long to wait; an answer that ends sooner has an error."


def _url(default: str | None, example: str) -> Any:
    doc = (
        f"Address of the server, such as {example}; $NAME in its path is replaced by an environment variable."
    )
    return option(default, doc, metavar="URL", address=True, outside="sent", same_answers=_COMPARED)


def _file(doc: str, same_answers: str = "") -> Any:
    return option(None, doc, metavar="path", outside="file", same_answers=same_answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions(Options):
    default_path: ClassVar[str] = ""
    """The path that is appended to a URL without a path."""

    url: str | None = _url(None, "http://gpu-box:8000")
    key_env: str | None = option(
        None,
        "Environment variable that holds the key; it is sent as a bearer token.",
        metavar="name",
        outside="sent",
        same_answers=_CONNECTION,
    )
    key_keyring: str | None = option(
        None,
        "Entry of the system's keyring that holds the key, such as gpu-box/me for the user me of the service gpu-box.",
        metavar="service/user",
        outside="sent",
        same_answers=_CONNECTION,
    )
    key_command: str | None = option(
        None,
        "Command whose first line of output is the key, such as: pass show gpu-box.",
        metavar="command",
        secret=True,
        outside="command",
        same_answers=_CONNECTION,
    )
    headers: tuple[str, ...] = option(
        (),
        "Headers to send, each as `Name: value`; $NAME in a value is replaced by an environment variable.",
        metavar="list of headers",
        secret=True,
        outside="sent",
        same_answers="Headers are for keys and routes, and their values are never recorded.",
    )
    ca_file: str | None = _file("PEM file with additional certificates to trust.", _CONNECTION)
    client_cert: str | None = _file(
        "PEM file with the client certificate; it may contain the key too.", _CONNECTION
    )
    client_key: str | None = _file("PEM file with the client certificate's key.", _CONNECTION)
    connect_timeout: float = option(
        10.0, "Seconds to wait for a connection.", minimum=0.1, maximum=3600, same_answers=_PATIENCE
    )
    load_timeout: float = option(
        600.0,
        "Seconds to wait for the first token, while the server loads the model and processes the prompt.",
        minimum=0.1,
        maximum=86400,
        same_answers=_PATIENCE,
    )
    idle_timeout: float = option(
        60.0,
        "Seconds to wait for the next part of an answer.",
        minimum=0.1,
        maximum=86400,
        same_answers=_PATIENCE,
    )
    use_proxy: bool = option(
        False,
        "Whether to use the proxy of the environment variables (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).",
        same_answers=_CONNECTION,
    )


DEFAULT_URL = "http://127.0.0.1:11434"

DEFAULT_CONTEXT = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaLoadOptions(EndpointOptions):
    url: str | None = _url(DEFAULT_URL, "http://gpu-box:11434")
    num_ctx: int | None = option(
        None,
        f"Context window in tokens, for prompt and answer; by default the model's own, {DEFAULT_CONTEXT} at "
        "most. Requests always set num_ctx, because the server's default cuts longer prompts without an error.",
        minimum=16,
        fact="context",
    )
    num_gpu: int | None = option(
        None, "Number of layers on the GPU; by default the server decides.", minimum=0
    )
    num_thread: int | None = option(
        None,
        "CPU threads that the server computes with; by default the server decides.",
        minimum=1,
        fact="threads",
    )
    num_batch: int | None = option(
        None,
        "Number of prompt tokens processed in one batch; by default the server decides.",
        minimum=1,
        fact="batch size",
    )
    keep_alive: str | None = option(
        None,
        "How long the server keeps the model after a run, such as 30m, or -1 for no limit. By default the "
        "server decides, and closing the engine unloads the model if this engine loaded it.",
        metavar="duration",
        same_answers="It decides how long the model stays in memory.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSampling(Options):
    """Options that each run can set. Options that are not set are not sent: the server or the model has defaults."""

    max_tokens: int | None = shared.MAX_TOKENS(None)
    temperature: float | None = shared.TEMPERATURE(None)
    top_k: int | None = shared.TOP_K(None)
    top_p: float | None = shared.TOP_P(None)
    min_p: float | None = shared.MIN_P(None)
    repeat_penalty: float | None = shared.REPEAT_PENALTY(None)
    presence_penalty: float | None = shared.PRESENCE_PENALTY(None)
    frequency_penalty: float | None = shared.FREQUENCY_PENALTY(None)
    seed: int | None = shared.SEED(None)
    stop: tuple[str, ...] = shared.STOP(())
    json_schema: str | None = shared.JSON_SCHEMA(None)

    def __post_init__(self) -> None:
        """Raise InputError for an invalid schema. A schema in a file is read when a run begins."""
        json_values.check_inline_schema(self.json_schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaSampling(RemoteSampling):
    repeat_last_n: int | None = option(
        None,
        "Number of recent tokens that the penalties apply to; -1 for the whole context.",
        minimum=-1,
        fact="penalty_last_n",
    )
    thinking: bool | Literal["low", "medium", "high", "max"] | None = shared.THINKING(
        None, note="By default the server decides."
    )


_EXTRA = "Not every server supports this option."


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAILoadOptions(EndpointOptions):
    default_path: ClassVar[str] = "/v1"
    raw: bool | None = option(
        None,
        "Continue the plain text of the messages, for models without a chat template; by default on if the "
        "server reports that the model has none.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISampling(RemoteSampling):
    top_k: int | None = shared.TOP_K(None, note=_EXTRA)
    min_p: float | None = shared.MIN_P(None, note=_EXTRA)
    repeat_penalty: float | None = shared.REPEAT_PENALTY(None, note=_EXTRA)
    presence_penalty: float | None = shared.PRESENCE_PENALTY(None, minimum=-2, maximum=2)
    frequency_penalty: float | None = shared.FREQUENCY_PENALTY(None, minimum=-2, maximum=2)
    seed: int | None = shared.SEED(None, note="Not every server uses the seed.")
    json_schema: str | None = shared.JSON_SCHEMA(
        None, note="A server without this feature rejects the prompt."
    )
    ignore_eos: bool | None = shared.IGNORE_EOS(None, note=_EXTRA)
    thinking: bool | Literal["minimal", "low", "medium", "high"] | int | None = shared.THINKING_BUDGET(
        None, note=_EXTRA
    )


CAPABILITIES = Capabilities(
    logprobs=True,
    plain_text=True,
    token_ids=True,
    tokenize=True,
    top_tokens=True,
    seed=True,
    continues=True,
    local=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaServerLoadOptions(gguf.GgufLoadOptions):
    """Options that take effect when a model is loaded. llama-server chooses the values of options that are not set."""

    program: str | None = option(
        None,
        "The llama-server to start: a path, or a name on PATH; by default llama-server on PATH, else the one in the "
        "Python package xllamacpp.",
        metavar="path",
        outside="program",
        same_answers="What the engines report of their builds is compared.",
    )
    n_ctx: int | None = gguf.N_CTX(
        None, note="By default the model's own context, or as much of it as fits on the GPU."
    )
    n_gpu_layers: int | None = gguf.N_GPU_LAYERS(None, note="By default as many layers as fit.")
    n_batch: int | None = gguf.N_BATCH(
        None, note="By default 128 tokens, or llama-server's own number with layers on a GPU."
    )
    mmproj: str | None = _file(
        "Path of the model's image encoder in GGUF (mmproj), which lets the model see images."
    )
    draft_model: str | None = _file(
        "Path of a small model in GGUF with the same vocabulary, which proposes tokens that the model checks: "
        "faster answers that differ only by rounding."
    )
    draft_max: int | None = option(
        None, "Largest number of tokens that the draft model proposes in one step.", minimum=1, maximum=1024
    )
    draft_min: int | None = option(
        None, "Smallest number of proposed tokens that are worth checking.", minimum=0, maximum=1024
    )
    draft_p_min: float | None = option(
        None, "Probability below which the draft model proposes no more tokens.", minimum=0, maximum=1
    )
    draft_gpu_layers: int | None = option(
        None,
        "Number of layers of the draft model on the GPU: 0 for none, -1 for all; by default as many as fit.",
        minimum=-1,
        maximum=10_000,
    )
    n_parallel: int = option(
        1,
        "Number of answers that one server computes concurrently, each with its own context (slots). Engines with "
        "the same model and load options share a server, up to this number.",
        minimum=1,
        maximum=256,
        slots=True,
    )
    port: int | None = option(
        None,
        "Port on 127.0.0.1 for the server; by default it listens on a private Unix socket.",
        minimum=1,
        maximum=65535,
        same_answers=_CONNECTION,
    )
    arguments: tuple[str, ...] = option(
        (),
        "Other arguments for llama-server, such as --no-kv-offload; its --help lists them.",
        metavar="list of arguments",
        outside="arguments",
    )


def with_defaults(options: LlamaServerLoadOptions, devices: Sequence[str]) -> LlamaServerLoadOptions:
    """Return the options with absolute paths and, on the CPU, with llama_cpp's defaults. Raises InputError."""
    options = replace(
        options,
        lora=_absolute(options.lora),
        mmproj=_absolute(options.mmproj),
        draft_model=_absolute(options.draft_model),
    )
    if options.n_gpu_layers != 0 and (devices or options.rpc_servers):
        return options
    return gguf.with_cpu_defaults(options)


def _absolute(path: str | None) -> str | None:
    try:
        return path if path is None else str(Path(path).expanduser().absolute())
    except RuntimeError as error:
        raise InputError(f"The home folder in {path} is not known.") from error


MOST_MODELS = 5_000
"""Largest number of models that are read from a server's list."""

_MOST_COMPARED = 1_000


def other_models(wanted: str, names: Sequence[str]) -> str:
    if len(names) >= MOST_MODELS:
        return f"Only the first {MOST_MODELS:,} models of its list are read."
    near = difflib.get_close_matches(wanted, names[:_MOST_COMPARED], n=1)
    return f"Did you mean {near[0]!r}?" if near else f"The server has: {', '.join(names[:20]) or 'none'}."


_PORTS = {"http": 80, "https": 443}


_ELSEWHERE = "Specify where the key is: key_env, key_keyring, key_command or headers. In a path, write $VARIABLE for the key."


def url_of(options: EndpointOptions) -> str:
    """Return the server's URL, or the backend's default. Raises InputError if there is no URL, or if the URL's path has a
    key."""
    url = options.url or type(options)().url
    if url is None:
        raise InputError(
            "The address of the server is not set.",
            hint="Set `url`, such as http://127.0.0.1:8000; in a spec, write BACKEND:MODEL@URL.",
        )
    path = re.split("[?#]", url.partition("://")[2])[0].partition("/")[2]
    if any(map(texts.is_key, path.split("/"))):
        raise InputError(
            "A part of the url's path looks like a key, which would be recorded.", hint=_ELSEWHERE
        )
    return url


def read_url(url: str, path: str = "") -> tuple[str, str]:
    """Return the base URL, with `path` if the URL has no path, and its origin. Raises InputError."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
        if port == 0:
            raise ValueError("port 0 is not valid")
    except ValueError as error:
        raise InputError(
            "The url cannot be read.", hint="Write the url of one server as http://HOST:PORT."
        ) from error
    if parts.username is not None or parts.password is not None:
        raise InputError(
            "The url contains a user name or password, which would be recorded.", hint=_ELSEWHERE
        )
    if parts.query or parts.fragment:
        raise InputError("The url has a query or a fragment, where a key would be recorded.", hint=_ELSEWHERE)
    if parts.scheme not in _PORTS or not host:
        raise InputError(
            f"The url {plain(url)!r} is not the URL of a server.", hint="Write the url as http://HOST:PORT."
        )
    if not url.isprintable():
        raise InputError("The url has unprintable characters: write http://HOST:PORT, with a path if needed.")
    origin = _origin(parts.scheme, host, port)
    base = urlunsplit((parts.scheme, origin.partition("://")[2], parts.path.rstrip("/") or path, "", ""))
    return base, origin


def proxy_for(origin: str) -> str | None:
    """Return the proxy that the environment variables set for a server, as a URL that may contain a password."""
    import urllib.request  # imported here because few users have a proxy

    parts = urlsplit(origin)
    if parts.hostname is None or urllib.request.proxy_bypass(parts.hostname):
        return None
    proxies = urllib.request.getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named:
        return None
    return named if "://" in named else f"http://{named}"


def reached_addresses(options: EndpointOptions) -> tuple[str, ...]:
    """Return the addresses of the server and of the proxy as `SCHEME://HOST:PORT`; empty for an invalid URL."""
    try:
        _, origin = read_url(url_of(options))
    except InputError:
        return ()
    found = [_address(origin)]
    proxy = proxy_for(origin) if options.use_proxy else None
    if proxy is not None and (address := _address(proxy)):
        found.append(address)
    return tuple(found)


def _address(url: str) -> str:
    """Return only scheme, host and port of a URL; empty if the URL has no host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    return _origin(parts.scheme, host, port or _PORTS.get(parts.scheme)) if host else ""


def _origin(scheme: str, host: str, port: int | None) -> str:
    return f"{scheme}://{network.bracketed(host)}" + (f":{port}" if port else "")
