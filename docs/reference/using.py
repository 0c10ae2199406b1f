"""The part of the page of commands, and of the manual page, that is written by hand: what holds for all commands."""

SECTIONS = {
    "Engines": """
Where a command takes an ENGINE, write one of these:

| ENGINE | what it is |
| --- | --- |
| `small` | the name of an engine in config.toml, or of an engine that you added on the screen |
| `llama_cpp:~/models/small-Q4_K_M.gguf` | BACKEND:MODEL, a model on this machine |
| `ollama:llama3.2@http://gpu-box:11434` | BACKEND:MODEL@URL, a model at a server |

`paragone engines models` prints the specs of all models that it finds, to copy. If the first argument is the name of a command,
that command runs; `paragone -- ask` opens an engine named `ask`. Options may stand anywhere, even before the command. After `--`,
arguments may begin with a dash: `paragone ask small -- "--verbose means what?"`
""",
    "Options of engines": """
`--set KEY=VALUE` sets an option of all named engines, and `--set NAME.KEY=VALUE` an option of the engine NAME only. Both override
config.toml, and may be repeated. `paragone engines options BACKEND` lists the options with their ranges and defaults.

```sh
paragone ask small "Name three colours." --set temperature=0 --set "stop=END,STOP"
paragone compare small large -p "Hi." --set small.n_ctx=2048
paragone ask small "Describe Ada Lovelace." --set json_schema=@person.json
paragone ask small "Is 91 prime?" --set thinking=200
```

Commas separate the items of a list. `none` unsets an option. With `json_schema`, the answer is JSON that follows a schema, given as JSON or
as the path of a file after `@`; an engine without this option refuses it. With `thinking`, a reasoning model thinks (`true`) or not
(`false`), with an effort (`low`, `medium`, `high`), or for at most so many tokens.
""",
    "Presets and templates": """
A preset is a system prompt with sampling options; a template is a prompt with variables. Both have a name in config.toml:

```toml
[presets.brief]
system = "Answer in one sentence."
temperature = 0.2

[templates]
translate = "Translate into {{ language }}:\\n\\n{{ prompt }}"
```

```sh
paragone ask small --preset brief "Why is the sky blue?"
paragone ask small --template translate --var language=German "Good morning."
```

A preset overrides the options of the engine; `--system` and `--set` override the preset. In a template, `prompt` stands for the prompt, and
each other variable needs a `--var`. Expressions in templates need the extra `experiments`.
""",
    "Prompts": """
`ask` and `compare` read the prompt from standard input if no prompt is given, or if it is `-`. Text that is piped in follows the given
prompt after an empty line:

```sh
git diff | paragone ask small "Write a commit message for this." > message.txt
```

The command waits for the end of the pipe. In a service or a loop, where standard input stays open, write `< /dev/null`. One newline at the
end of piped text is removed. Attached files are sent below the prompt: texts in UTF-8 (at most 8 MB), PDFs (with the extra `pdf`) and
images (at most 20 MiB, for models with vision).
""",
    "Output": """
Results go to standard output; errors, warnings and progress go to standard error. An error is one line, `paragone:` and what failed, then
advice on the next line. At a terminal, the last line of most commands is the command that is useful next.

A pipe or a file gets the answer of a model unchanged, in UTF-8; a missing newline at the end is added. On a terminal, control characters and
invisible characters are replaced by visible symbols such as `␛`. In names, paths and errors they are always replaced.
""",
    "JSON": """
With `--json`, a command prints JSON. [command-line.schema.json](command-line.schema.json) is its JSON schema: a definition for each command,
in which each field has a description. Fields may be added; existing fields are not removed and do not change their meaning.
Values that an engine does not report are null. Control characters are written as `\\uXXXX`.

```sh
paragone ask small "Name three colours." --json | jq .timings.decode_tps
```

`seed` is the seed that was used, even if it was drawn at random: with `--set seed=` and this number, a local engine gives the same answer again.
`compare` prints such an object for each engine, with the differences between their conditions, and with `--logprobs` where they diverge.
""",
    "Exit codes": """
| code | meaning |
| --- | --- |
| 0 | success |
| 1 | something failed, or a check did not pass: see the commands below |
| 2 | a mistake in the command line or in config.toml: an unknown engine, an invalid option, a missing file |
| 130 | interrupted by Ctrl+C; what was finished until then is printed. A second Ctrl+C ends the program immediately |
| 141 | the reader closed the output pipe |
""",
    "Environment variables": """
| variable | effect |
| --- | --- |
| `XDG_CONFIG_HOME`, `XDG_DATA_HOME`, `XDG_STATE_HOME`, `XDG_CACHE_HOME` | where settings, history and environments, state and logs, and demo models are |
| `PARAGONE_SERVE_KEY` | the key that clients of `paragone serve` send |
| `PARAGONE_PASS_ENV` | further variables that engines' processes inherit, separated by commas; `NAME_*` for all that begin so |
| `OLLAMA_HOST` | the address of Ollama on this machine |
| `LLAMA_CACHE`, `HF_HUB_CACHE`, `HF_HOME` | where llama.cpp and Hugging Face's tools keep models |
| `VISUAL`, `EDITOR` | the editor for prompts on the screen |
| `NO_COLOR` | write no colours on the screen |
""",
    "Third-party files": """
A config file that `--config` names, a suite, a document to replay, and conversations to import may have been written by others. Such a
file needs your consent for what it would do beyond its own folder: contact addresses (servers, proxies), read files, run
commands or programs, and send environment variables or keys to a server.

On a terminal, paragone lists these actions and asks. A yes is remembered for this file and these actions. Without a terminal, the command
prints the actions and ends with exit code 2, unless you write `--trust`, which is consent to all of them for one command.

No consent is needed for what is your own: files in paragone's folder for settings; engines that your config.toml or the command
line names, and their options; exports that this paragone wrote; files in the folder of the file that names them, or below it (unless that is
your home folder); and models in `~/models`, in your `models.folders`, in paragone's cache, and where the backend keeps its models.
""",
    "Offline": """
With `--offline`, or `offline = true` under `[network]` in config.toml, neither paragone nor the programs that it starts contact
anything. On Linux and macOS the system enforces that: see [Reliability](reliability.md). An engine at a server is refused, with
its address; with `local_servers = true` under `[network]`, servers on this machine may be used. Without `--offline`, paragone
contacts only the addresses that engines name; a line on standard error names other addresses, which are refused.
""",
    "What is saved": """
The screen saves its conversations in the history, `suite run` and `choose` their runs as an experiment, and `fidelity` and `bench` their
figures, which `report` and `fit` show. `ask` and `compare` save nothing. The last 50 logs of engines' processes are kept.
""",
}
"""The text of each section, in Markdown."""
