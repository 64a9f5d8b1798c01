"""How things are printed: one console, one way to write money, tables that line up, one JSON line for programs."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.printable import escape_json, printable

if TYPE_CHECKING:
    from convoforge.models import Turn


class OutputError(ConvoforgeError):
    """Standard output cannot be written: nobody can see what a command says."""


class Screen(Console):
    """A console for text that others wrote: control characters are shown, not obeyed, and `:names:` are no emoji.

    A reader who has left (`| head`) is no fault: what a command does goes on, unseen, and so does a run that pays. Raises `OutputError`
    where standard output cannot be written for another reason; standard error goes quiet then, since nowhere is left to say it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        silence(self.file)

    def _write_buffer(self) -> None:
        try:
            super()._write_buffer()
        except BrokenPipeError:
            raise  # to `on_broken_pipe`
        except OSError as error:
            self.on_broken_pipe()
            if not self.stderr:
                raise _unwritable(error) from None


def silence(stream: Any) -> None:
    """Drop what is still to be written to a stream that cannot be written, also at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def prepare_streams() -> None:
    """Let nothing that is printed fail for its characters: what the terminal's encoding lacks becomes `?`. A closed standard input is an
    empty one."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # None where it is closed
            stream.reconfigure(errors="backslashreplace" if _is_unicode(stream) else "replace")


def flush_output() -> None:
    """See that what was printed has arrived. Raises `OutputError` where it cannot."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    except (OSError, ValueError) as error:
        silence(sys.stdout)
        raise _unwritable(error) from None


def print_json(value: Any) -> None:
    """One JSON object on a line of its own, in what the encoding of standard output can hold. Raises `OutputError`."""
    plain = json.dumps(value, ensure_ascii=not _is_unicode(sys.stdout), default=str)
    try:
        print(escape_json(plain), flush=True)
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        silence(sys.stdout)
        raise _unwritable(error) from None


def _is_unicode(stream: TextIO | None) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def _unwritable(error: Exception) -> OutputError:
    return OutputError(f"standard output cannot be written: {getattr(error, 'strerror', None) or error}")


out = Screen(soft_wrap=True)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out = Screen(soft_wrap=True, width=200)  # in a file or a pipe there is no edge to wrap at


errors = Screen(stderr=True, soft_wrap=True)
"""Progress and errors: what is no result."""


def ask(question: str) -> bool:
    """Whether somebody at the terminal answers yes. Raises `ConfigError` where there is none: nobody has agreed to spend."""
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} There is no terminal to ask at: --yes answers it")
    return out.input(f"{question} [y/N] ", markup=False).strip().lower() in ("y", "yes")


def name_options(text: str) -> str:
    """A message of flows and API, where an option is a field of a form, as the command line has it: "the option `retry_refused`" is
    `--retry-refused`."""
    return re.sub(r"(?:the )?option `(\w+)`", lambda found: f"--{found[1].replace('_', '-')}", text)


def print_notes(notes: Iterable[str], warnings: Iterable[str] = ()) -> None:
    """Print warnings and then notes, each on a line of its own."""
    for warning in warnings:
        out.print(f"[yellow]{escape(name_options(warning))}.[/yellow]")
    for note in notes:
        out.print(f"[dim]note: {escape(name_options(note))}[/dim]")


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Names on the left, values on the right of them. Values are plain text: a bracket in them is a bracket."""
    table = Table.grid(padding=(0, 3))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a path that is cut is of no use
    for name, value in rows:
        table.add_row(f"[dim]{name}[/dim]", Text(printable(value)))
    return table


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Table:
    """A table with the first `left` columns to the left and figures to the right. Cells are plain text."""
    table = Table(box=None, header_style="bold", padding=(0, 2), show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def behind(version: int | None, latest: int | None) -> list[tuple[str, str]]:
    """The line that says so where `latest` does not lead to the version that holds today's rows."""
    return [] if latest == version else [("latest", f"version {latest}, NOT {version or 'what is accepted today'}")]


def print_turns(turns: Iterable[Turn]) -> None:
    """Print what each side of a conversation says."""
    colours = {"user": "cyan", "assistant": "green"}
    for turn in turns:
        out.print(f"[{colours[turn.role]}]{turn.role}[/]")
        out.print(Padding(escape(turn.content), (0, 2), expand=False), soft_wrap=False)


def show_progress(steps: Iterable[int], total: int, what: str, *, quiet: bool = False) -> None:
    """Go through `steps`, each of which says how many of `total` are done; what takes over two seconds has a bar at a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=errors, transient=True)
    task, begun = bar.add_task(what, total=total), time.monotonic()
    try:
        for done in steps:
            bar.update(task, completed=done)
            if errors.is_terminal and not quiet and time.monotonic() - begun > 2:
                bar.start()
    finally:
        if bar.live.is_started:
            bar.stop()
