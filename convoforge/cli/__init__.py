"""The command line. Each command is a function in a file of its own, which is imported when the command is used; what takes long to
import, a command imports in its body, so that its `--help` does not wait for it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import NoReturn

from cyclopts import App, CycloptsError

from convoforge.cli import console  # its `errors` would be replaced here by the command of that name
from convoforge.cli.console import OutputError, flush_output, name_options, out, prepare_streams, print_json
from convoforge.cli.parameters import DONE, FAILED, STOPPED, WRONG_INPUT
from convoforge.errors import ConfigError, ConvoforgeError, shown
from convoforge.printable import is_text, printable_line

MAX_MESSAGE = 1_200
"""Maximum characters of a message: it may repeat what was given, of any length."""

app = App(
    name="convoforge",
    help="Training conversations with Claude: a spec in, a priced, scored, trainable dataset out.",
    version=lambda: f"convoforge {version('convoforge')}",
    console=out,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # else it would end without a word
    help_epilogue="Exit codes: 0 done; 1 failed; 2 wrong input; 3 ended short (budget, stop, exhausted cells, failures left, a no to the "
    "question).",
)

COMMANDS = {
    "init": "Make a project: specs, templates, personas and settings to start from.",
    "plan": "Show what a build would do and cost; spend nothing but for a pilot.",
    "build": "Plan, price, generate with live progress, score, publish; print where it lies.",
    "approve": "List the runs that wait for a yes because their estimate is above `approve_above_usd`, or answer one.",
    "status": "Show the latest runs, or one run with its cells and rate.",
    "errors": "Show what was refused, failed or not accepted, how often, and what to do; of a run or a dataset.",
    "show": "Print accepted conversations of a dataset, to be read.",
    "review": "Read conversations and decide on them: accept, reject, send back, edit.",
    "costs": "Show what was spent, on what, and what came of it.",
    "judge": "Let a judge read what a dataset holds, and compare it with reviews.",
    "publish": "Publish a new version from what the ledger holds; generate nothing.",
    "check": "Check what a trainer would do with a published version: lengths, roles, chat template, duplicates, leakage, columns.",
    "export": "Write a published version as files of another format: sharegpt, alpaca, openai, llamafactory, axolotl.",
    "limits": "Show the rate limits that all runs share, in requests a minute, or change one while they go on.",
    "doctor": "Check key, limits, prices, ledger, disk, server, schedules and workers; say what to do.",
    "generate": "Generate one conversation and print it.",
    "serve": "Serve the HTTP API: single conversations and batches, for products. Without a token it listens on loopback only.",
    "token": "Make a token for callers of the HTTP API, with the scopes that it is to have.",
    "simulate": "Run the simulator alone, and print how to use it instead of the Claude API.",
}
"""The help of each command, in the order in which a person meets them; the command itself is the function of its name in the file of
its name."""

for _place, (_name, _help) in enumerate(COMMANDS.items()):
    app.command(f"convoforge.cli.{_name}:{_name}", help=_help, sort_key=_place)


def main(arguments: list[str] | None = None) -> None:
    """The entry point of `convoforge`: one clear line for every fault, and an exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    gc.set_threshold(20_000, 50, 100)  # what imports make stays: to look for garbage in it takes a tenth of a start
    os.environ.setdefault("DO_NOT_TRACK", "1")  # else Prefect's notice about what it collects comes between what is printed
    prepare_streams()
    sys.exit(_guarded(lambda: _run(given), as_json=any(word.partition("=")[0] == "--json" for word in given)))


def _leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for its threads. Ctrl-C may have left Python's import lock taken (it does, inside
    `importlib._bootstrap`): a thread that imports would wait for it forever, and an orderly exit for that thread."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def _run(arguments: list[str]) -> int:
    for word in arguments:
        if "\0" in word or not is_text(word):
            raise ConfigError(f"{shown(word)} is not UTF-8 text: type it anew, or rename the file")
    code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    flush_output()
    return code or DONE


def _guarded(command: Callable[[], int], *, as_json: bool) -> int:
    try:
        return command()
    except CycloptsError as error:
        from convoforge.cli.usage import explain_usage

        return _fail("UsageError", explain_usage(error), WRONG_INPUT, as_json=as_json)
    except ConfigError as error:
        return _fail(type(error).__name__, str(error), WRONG_INPUT, as_json=as_json)
    except ConvoforgeError as error:
        return _fail(type(error).__name__, str(error), FAILED, as_json=as_json)
    except EOFError:
        return _fail("EOFError", "the question has no answer, so nothing was sent: --yes answers it", STOPPED, as_json=as_json)
    except KeyboardInterrupt:
        _leave_at_once(_fail("KeyboardInterrupt", "stopped", STOPPED, as_json=as_json))
    except Exception as error:  # noqa: BLE001 - whatever it is, a person reads one line, and its traceback is kept
        from convoforge.cli.faults import describe_fault

        return _fail(type(error).__name__, describe_fault(error), FAILED, as_json=as_json)


def _fail(kind: str, message: str, code: int, *, as_json: bool) -> int:
    message = name_options(message)
    message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} …"
    console.errors.print(f"convoforge: {printable_line(message)}", style="red", markup=False)
    if as_json:
        with suppress(OutputError):  # then that is the error just printed
            print_json({"error": {"type": kind, "message": message}, "exit_code": code})
    return code
