"""Reviewing at a terminal: a conversation as a chat, what is said of it, and a key for each decision."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from select import select
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule

from convoforge.cli.console import out, print_turns
from convoforge.errors import ConfigError, StaleEdit
from convoforge.review.choosing import Queue
from convoforge.review.deciding import decide, undo
from convoforge.review.items import ReviewItem, read_items, score_edit
from convoforge.review.text_form import read_text, write_text

if TYPE_CHECKING:
    from convoforge.ledger import Ledger
    from convoforge.planning.plan import Plan

DECISION_WORDS = {"accept": "accepted", "edit": "edited", "reject": "rejected", "revise": "sent back"}
_KEYS = {"a": "accept", "r": "reject", "s": "revise", "e": "edit"}
_HELP = "[b]a[/b]ccept  [b]r[/b]eject  [b]s[/b]end back  [b]e[/b]dit  [b]w[/b]rite a note  [b]u[/b]ndo  [b]n[/b]ext  [b]q[/b]uit"
_HELP_AT_END = "[b]u[/b]ndo  [b]q[/b]uit"
_COMMENT = """Edit what is said below; this comment is not read. A line such as === user === begins a turn.
Roles alternate, the first turn is the user's, the last the assistant's, and none is empty.

"""


class ReviewSession:
    """A reviewer's way through a queue. `read_key` gives the next key; an empty one ends the session."""

    def __init__(
        self, ledger: Ledger, plan: Plan, queue: Queue, reviewer: str, read_key: Callable[[], str], now: Callable[[], datetime]
    ) -> None:
        self._ledger, self._plan, self._queue, self._reviewer = ledger, plan, queue, reviewer
        self._read_key, self._now = read_key, now
        decisions = [item.find_decision(reviewer) for item in read_items(ledger, queue.done)]
        self._before = Counter(one for one in decisions if one)
        self._decided: dict[int, str] = {}  # place in the queue → decision, in the order in which they were made
        self._note = ""
        self._draft: str | None = None  # what was edited last and made no conversation

    def run(self) -> None:
        """Go through the queue until its end, or until the reviewer stops."""
        place: int | None = 0
        while place is not None:
            if place < len(self._queue.todo):
                item = self._read(place)
                self._show(place, item)
                self._note, self._draft = "", None
                place = self._handle_keys(place, item)
            else:
                place = self._end()
        left = len(self._queue.todo) - len(self._decided)
        out.print(f"\n{self._describe_progress()}{f' · {left} left' if left else ''}")

    def _end(self) -> int | None:
        """After the last conversation: the place that an undo goes back to; None to stop."""
        out.print(f"That was the last one.  {_HELP_AT_END}")
        while (key := self._read_key()) not in ("q", "", "n"):
            if key == "u" and (back := self._undo()) is not None:
                return back
        return None

    def _handle_keys(self, place: int, item: ReviewItem) -> int | None:
        """The place to go to next; None to stop."""
        while True:
            out.print(_HELP)
            match self._read_key():
                case "a" | "r" | "s" | "e" as key:
                    turns = self._edit(item) if key == "e" else None
                    if (turns is not None or key != "e") and self._decide(place, item, _KEYS[key], turns):
                        return place + 1
                    item = self._read(place)  # which somebody else may have edited
                case "w":
                    try:
                        self._note = out.input("note: ", markup=False)
                    except EOFError:  # Ctrl-D
                        return None
                case "u":
                    if (back := self._undo()) is not None:
                        return back
                case "n":
                    return place + 1
                case "q" | "":
                    return None

    def _decide(self, place: int, item: ReviewItem, decision: str, turns: list[dict[str, str]] | None) -> bool:
        """Write a decision. False, with a line that says why, where it cannot be."""
        try:
            made = decide(
                self._ledger,
                item.conversation_id,
                decision,
                self._reviewer,
                now=self._now(),
                note=self._note,
                turns=turns,
                edit_of=None if turns is None else item.edit_of,
            )
        except ConfigError as error:
            if isinstance(error, StaleEdit):
                self._show(place, self._read(place))
            out.print(f"[red]{escape(str(error))}. {'e opens the text again' if turns else 'n goes on'}[/red]")
            return False
        self._decided.pop(place, None)
        self._decided[place] = made.decision
        out.print(f"[dim]{DECISION_WORDS[made.decision]}[/dim]")
        if made.turns:
            for reason in score_edit(self._plan, item, made.turns).reasons:
                out.print(f"[yellow]of the edited text: {escape(reason)}[/yellow]")
        return True

    def _undo(self) -> int | None:
        if not self._decided:
            out.print("[yellow]nothing was decided in this session that could be undone[/yellow]")
            return None
        place, decision = self._decided.popitem()
        undo(self._ledger, self._queue.todo[place].draw.conversation_id, self._reviewer, now=self._now())
        out.print(f"[dim]undone: {DECISION_WORDS[decision]}[/dim]")
        return place

    def _edit(self, item: ReviewItem) -> list[dict[str, str]] | None:
        """The turns as the reviewer's editor leaves them; None where there is nothing to write."""
        before = self._draft if self._draft is not None else _COMMENT + write_text(item.conversation.turns)
        after = _open_editor(before)
        if after is None:
            return None
        if after == before and self._draft is None:
            out.print("[dim]nothing was changed[/dim]")
            return None
        self._draft = after
        return read_text(after)

    def _read(self, place: int) -> ReviewItem:
        [item] = read_items(self._ledger, self._queue.todo[place : place + 1])
        return item

    def _show(self, place: int, item: ReviewItem) -> None:
        out.print(Rule(self._describe_progress(place)))
        cell = f"{item.persona} · {item.emotion} · {item.topic} · {item.tier} · {item.template}"
        out.print(f"[bold]{escape(cell)}[/bold]  [dim]{item.conversation_id}[/dim]")
        if item.conversation.system:
            out.print("[magenta]system[/magenta]")
            out.print(Padding(escape(item.conversation.system), (0, 2), expand=False), soft_wrap=False)
        print_turns(item.conversation.turns)
        edited = f" · edited by {next(one.reviewer for one in item.reviews if one.decides)}" if item.decision == "edit" else ""
        out.print(f"\n[bold]{item.status.replace('_', ' ')}[/bold]{escape(f': {item.reason}' if item.reason else '')}{edited}")
        for one in item.quality.results if item.quality else ():
            points = f"{one.points}/{one.maximum}" if one.points is not None else one.verdict or ""
            out.print(f"  {one.name} {points}{escape(f': {one.reason}' if one.reason else '')}")
        if item.quality:
            out.print(f"  score {item.quality.score}, {self._plan.spec.quality.min_score} needed")

    def _describe_progress(self, place: int | None = None) -> str:
        """What stands above a conversation, or, without a place, at the end."""
        counts = self._before + Counter(self._decided.values())
        at = len(self._queue.done) + (len(self._decided) if place is None else place + 1)
        return f"{at} of {len(self._queue)}" + (f" · {describe_decisions(counts)}" if counts else "")


def describe_decisions(counts: Mapping[str, int]) -> str:
    """Counts of decisions: 9 accepted, 3 rejected."""
    return ", ".join(f"{counts[decision]:,} {words}" for decision, words in DECISION_WORDS.items() if counts.get(decision))


def read_key() -> str:
    """The next key at the terminal, without waiting for Enter; empty for Ctrl-D, and where the terminal is gone."""
    import termios
    import tty

    screen = sys.stdin.fileno()
    before = termios.tcgetattr(screen)
    try:
        tty.setcbreak(screen, termios.TCSANOW)  # what was typed ahead stays, and Ctrl-C still stops
        return _read_one(screen)
    except OSError:
        return ""
    finally:
        termios.tcsetattr(screen, termios.TCSADRAIN, before)


def _read_one(screen: int) -> str:
    key = os.read(screen, 1).decode(errors="replace").lower()
    if key in ("\x04", "\0"):  # Ctrl-D; what was typed ahead, the terminal hands over as NUL
        return ""
    while key == "\x1b" and select([screen], [], [], 0.05)[0]:
        os.read(screen, 16)  # the rest of an arrow or function key, which has letters in it
    return key


def _open_editor(text: str) -> str | None:
    """The text as the editor of $VISUAL or $EDITOR leaves it; None, with a line that says why, where it cannot be used."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="convoforge-") as folder:
        path = Path(folder) / "conversation.txt"
        path.write_text(text, encoding="utf-8", newline="")
        try:
            code = subprocess.run([*shlex.split(command), str(path)], check=False).returncode
            after = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a quote that does not close
            out.print(f"[red]the editor {escape(command)} cannot be used: {escape(str(error))}. Set EDITOR to another one[/red]")
            return None
    if code:
        out.print(f"[yellow]the editor ended with exit code {code}: nothing was changed[/yellow]")
        return None
    return after
