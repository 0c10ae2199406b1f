"""The engine of the rogue backend: see the package."""

import ctypes
import math
import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import paragone
from paragone.options import as_values
from paragone.worker.confinement import kinds_of_sockets_that_open
from rogue_backend.options import RogueLoad, RogueSampling

MODELS = (
    "steady", "escapes", "killed", "null", "illegal", "abort", "exit", "raises", "deaf", "loud", "torn", "garbage", "flood", "orphan", "cautious",
    "wide", "lines", "threads", "seeing", "prying", "leaving", "nan", "bulky", "huge", "thinking",
)  # fmt: skip
FAULTY = {
    "killed",
    "null",
    "illegal",
    "abort",
    "exit",
    "raises",
    "deaf",
    "loud",
    "torn",
    "garbage",
    "flood",
    "huge",
    "orphan",
}
"""The models that fail before a word."""
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b5m[bold]mark[/bold] \x1b[?1049l\u202eevil"


class RogueEngine(paragone.Engine[RogueLoad, RogueSampling]):
    load_options = RogueLoad
    sampling = RogueSampling

    @classmethod
    def probe(cls) -> paragone.Probe:
        return paragone.Probe(usable=True, facts={"python": sys.executable})

    def load(
        self,
        request: paragone.OpenRequest,
        options: RogueLoad,
        report: paragone.Report,
        cancelled: paragone.Cancelled,
    ) -> paragone.LoadedModel:
        if request.model not in MODELS:
            raise paragone.InputError(
                f"There is no model {request.model!r}.", hint=f"There are: {', '.join(MODELS)}."
            )
        if options.build:
            print(options.build, file=sys.stderr)
        for step in range(10):
            report(step / 10)
            time.sleep(options.load_s / 10)
        while options.load_gate and not os.path.exists(options.load_gate):
            time.sleep(0.01)
        report(1.0)
        self.model = request.model
        self.context = options.context
        self.options = options
        cautions = (
            (paragone.Caution(code="test", sentence="This engine fails on cue."),)
            if self.model == "cautious"
            else ()
        )
        return paragone.LoadedModel(
            name=request.model,
            context=options.context,
            vision=self.model == "seeing",
            cautions=cautions,
            facts={"threads": str(request.threads), **LOOKING.get(self.model, dict)()},
        )

    def generate(
        self, request: paragone.RunRequest, sampling: RogueSampling, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.Event]:
        start = time.monotonic()
        prompt = len(self.tokenize(paragone.TokenizeRequest(messages=request.messages)).ids)
        if prompt >= self.context:
            raise paragone.ContextOverflow(
                f"The prompt has {prompt} tokens, the context {self.context}.",
                tokens=prompt,
                context=self.context,
            )
        yield paragone.RunSettings(sampling=as_values(sampling), threads=request.threads)
        steps = round(sampling.prefill_s * 20)
        for step in range(steps):
            if cancelled:
                break
            yield paragone.PromptProgress(done=prompt * step // steps, total=prompt, time=time.monotonic())
            time.sleep(1 / 20)
        yield paragone.PromptProgress(done=prompt, total=prompt, time=time.monotonic())
        self.threads = request.threads
        self.images = [image.name for message in request.messages for image in message.images]
        first = time.monotonic()
        done = 0
        reason: paragone.FinishReason = "stop"
        last = request.messages[-1]
        begun = len(last.text.split()) if last.role == "assistant" else 0
        for number in range(begun, begun + sampling.max_tokens):
            if number == sampling.at:
                self.misbehave(cancelled)
                gate = self.options.gate
                while gate and not os.path.exists(gate) and not cancelled:
                    time.sleep(0.01)
            if cancelled and self.model != "deaf":
                reason = "cancelled"
                break
            yield self.token(number, is_wrong=number >= sampling.at)
            done += 1
            if sampling.rate < 1000:
                time.sleep(1 / sampling.rate)
        else:
            reason = "length"
        now = time.monotonic()
        yield paragone.Finish(
            reason=reason,
            usage=paragone.Usage(prompt_tokens=prompt, cached_tokens=0, completion_tokens=done),
            timings=paragone.Timings(prefill_s=first - start, decode_s=now - first),
            time=now,
        )

    def token(self, number: int, *, is_wrong: bool) -> paragone.Token:
        fault = self.model if is_wrong else ""
        return paragone.Token(
            text="x" * 300_000_000 if fault == "bulky" else self.word(number),
            id=number,
            channel="thinking" if self.model == "thinking" and not is_wrong else "answer",
            time=math.nan if fault == "nan" else time.monotonic(),
        )

    def word(self, number: int) -> str:
        if self.model == "escapes":
            return ESCAPES + " "
        if self.model == "wide":
            return f"語{number}😀 "
        if self.model == "lines":
            return "a\n"
        if self.model == "threads":  # the number of threads that it may use
            return f"{self.threads} "
        if self.model == "seeing":  # the images in the request
            return f"{' '.join(self.images)} "
        return f"word{number} "

    def misbehave(self, cancelled: paragone.Cancelled) -> None:
        last_words = self.options.last_words
        if last_words and self.model != "raises":
            print(last_words, file=sys.stderr)
        if self.model in FAULTY:
            time.sleep(
                0.3
            )  # until the text so far is sent: a worker gathers what comes within some milliseconds
        match self.model:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "null":
                ctypes.string_at(0)
            case "illegal":
                os.kill(os.getpid(), signal.SIGILL)
            case "abort":
                os.write(2, b"GGML_ASSERT(false) failed: this is what a library says before it aborts\n")
                os.abort()
            case "exit":
                os._exit(3)
            case "raises":
                raise RuntimeError(last_words or "the kernel image is unhappy")
            case "deaf":
                time.sleep(60)
            case "loud":
                os.write(1, b"o" * 2**20)
                os.write(2, b"e" * 2**20)
                print("printed from Python")
            case "torn":
                os.write(self.pipe(), b'{"say":"events","job":1,"eve')
                os._exit(0)
            case "garbage":
                os.write(self.pipe(), b"this is not JSON\n")
                time.sleep(60)
            case "flood":
                items = b",".join([b'[0,"",0,0]'] * 1_000_000)
                os.write(self.pipe(), b'{"job":0,"items":[' + items + b"]}\n")
                time.sleep(60)
            case "huge":
                raise RuntimeError("x" * 50_000_000)
            case "orphan":
                if os.fork() == 0:  # a child process that keeps the pipe open for a while
                    time.sleep(5)
                    os._exit(0)
                os._exit(4)

    def pipe(self) -> int:
        return int(sys.argv[1])

    def tokenize(self, request: paragone.TokenizeRequest) -> paragone.TokenizedText:
        text = "\n".join(message.text for message in request.messages) or request.text
        count = len(text.split()) + len(request.messages)
        return paragone.TokenizedText(text=text, ids=tuple(n % self.options.vocab_size for n in range(count)))

    def score(
        self, request: paragone.ScoreRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.Event]:
        self.check_scores()
        words = request.text.split()
        reason: paragone.FinishReason = "stop"
        for number, word in enumerate(words):
            if number == self.options.fails_at:
                self.misbehave(cancelled)
            if cancelled:
                reason = "cancelled"
                break
            time.sleep(0.001)
            yield paragone.PromptProgress(done=number, total=len(words), time=time.monotonic())
            n_bytes = len(word.encode())
            yield paragone.Token(text=word, id=number, logprob=-1.0, n_bytes=n_bytes, time=time.monotonic())
        yield paragone.Finish(reason=reason, time=time.monotonic())

    def distributions(
        self, request: paragone.DistributionsRequest, cancelled: paragone.Cancelled
    ) -> Iterator[paragone.LogitsBlock]:
        """Logits that encode their place: 1,000 times the position, plus the column."""
        self.check_scores()
        width = self.options.vocab_size
        room = array("f", bytes(4 * width * self.options.rows))
        for start in range(request.start, len(request.ids), self.options.rows):
            if self.options.fails_at is not None and start >= self.options.fails_at:
                self.misbehave(cancelled)
            if cancelled:
                return
            rows = min(self.options.rows, len(request.ids) - start)
            for row in range(rows):
                for column in (0, width - 1):
                    room[row * width + column] = 1000 * (start + row) + column
            if self.options.trace:
                with Path(self.options.trace).open("ab") as file:
                    file.write(b".")
            data = memoryview(room)[: rows * width].cast("B").cast("f")
            yield paragone.LogitsBlock(start=start, rows=rows, vocab_size=width, data=data)

    def embed(self, request: paragone.EmbedRequest, cancelled: paragone.Cancelled) -> paragone.Embeddings:
        """Vectors of the number of the text's words, which come one per millisecond."""
        self.check_scores()
        for text in request.texts:
            for number in range(len(text.split())):
                if number == self.options.fails_at:
                    self.misbehave(cancelled)
                if cancelled:
                    raise paragone.EngineError("The computation was stopped.")
                time.sleep(0.001)
        counts = [len(text.split()) for text in request.texts]
        return paragone.Embeddings(vectors=tuple((float(n), -0.5) for n in counts), prompt_tokens=sum(counts))

    def check_scores(self) -> None:
        if not self.options.scores:
            raise paragone.EngineError("This engine has no scores and no distributions.")

    def vocabulary(self) -> paragone.Vocabulary:
        size = self.options.vocab_size
        return paragone.Vocabulary(
            size=size, fingerprint=paragone.fingerprint(self.word(n).encode() for n in range(size))
        )

    @classmethod
    def estimate(cls, request: paragone.OpenRequest, options: RogueLoad) -> paragone.MemoryEstimate:
        if request.model not in MODELS:
            raise paragone.InputError(f"There is no model {request.model!r}.")
        cpu = paragone.DeviceMemory(
            device="CPU", weights=1 << 20, kv_cache=options.context * 16, compute=1 << 16, free=options.free
        )
        return paragone.MemoryEstimate(context=options.context, devices=(cpu,), trained_context=1 << 16)


def _pried() -> dict[str, str]:
    """Return what this process and a program that it starts can get at: sockets and variables."""
    look = "from paragone.worker.confinement import kinds_of_sockets_that_open; print(*kinds_of_sockets_that_open())"
    child = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {look}"],
        capture_output=True,
        text=True,
    )
    return {
        "opens": " ".join(kinds_of_sockets_that_open()),
        "child opens": child.stdout.strip() + child.stderr.strip(),
        "variables": " ".join(sorted(os.environ)),
        "key": _key_of_parent(),
    }


def _key_of_parent() -> str:
    try:
        variables = Path(f"/proc/{os.getppid()}/environ").read_text().split("\0")
    except OSError as error:
        return type(error).__name__
    return " ".join(variable for variable in variables if variable.startswith("HF_TOKEN="))


def _left() -> dict[str, str]:
    return {"child": str(subprocess.Popen(["sleep", "600"]).pid)}


LOOKING = {"prying": _pried, "leaving": _left}
"""What models report of their process."""
