"""`convoforge review`: keys at a terminal, files in and out, and what the next publish makes of it."""

from __future__ import annotations

import os
import pty
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import polars as pl
import pytest
from review.conftest import NOW, TURNS, Reviewed
from reviewed import read_current
from support import Done, Project

from convoforge.cli.review_keys import ReviewSession, read_key
from convoforge.review.choosing import Sample, choose
from convoforge.review.deciding import decide, read_reviews

EDITOR = """#!/bin/sh
sed -i 's/It may be/It depends on who owes the money, and may be/' "$1"
"""


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes an editor of a shell script."""
    monkeypatch.delenv("VISUAL", raising=False)

    def make(script: str) -> None:
        path = tmp_path / "an editor"
        path.write_text(script)
        path.chmod(0o700)
        monkeypatch.setenv("EDITOR", f"'{path}'")

    return make


def press(reviewed: Reviewed, keys: str, capsys: pytest.CaptureFixture[str], sample: str = "rejected") -> str:
    """What is printed while a reviewer presses keys."""
    queue = choose(reviewed.ledger, reviewed.plan, reviewed.dataset, Sample.parse(sample), reviewer="Ada")
    waiting = iter(keys)
    ReviewSession(reviewed.ledger, reviewed.plan, queue, "Ada", lambda: next(waiting, ""), lambda: NOW).run()
    return capsys.readouterr().out


def decisions(reviewed: Reviewed) -> list[list[str]]:
    return [[one.decision for one in read_reviews(reviewed.ledger, name)] for name in reviewed.names]


def test_keys_decide_and_a_review_goes_on_where_it_stopped(
    reviewed: Reviewed,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = press(reviewed, "xaq", capsys)
    assert sorted(decisions(reviewed)) == [[], [], [], [], [], ["accept"]]
    assert "Is a bond safe, Ada?" in said and "needs revision: score 4 is below 6" in said and "2 of 3 · 1 accepted" in said
    assert said.rstrip().endswith("1 of 3 · 1 accepted · 2 left")
    monkeypatch.setattr("convoforge.cli.review_keys.out.input", lambda *_, **__: " too short ")
    said = press(reviewed, "nwsuur", capsys)
    assert "2 of 3 · 1 accepted" in said and "undone: sent back" in said and "nothing was decided in this session" in said
    assert sorted(decisions(reviewed)) == [[], [], [], [], ["accept"], ["revise", "undo", "reject"]]
    last = reviewed.names[decisions(reviewed).index(["revise", "undo", "reject"])]
    assert [one.note for one in read_reviews(reviewed.ledger, last)] == ["too short", "", ""]
    assert press(reviewed, "a", capsys).rstrip().endswith("3 of 3 · 2 accepted, 1 rejected")


def test_an_edit_goes_through_the_editor_and_what_is_wrong_with_it_is_one_line(
    reviewed: Reviewed,
    capsys: pytest.CaptureFixture[str],
    editor: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = reviewed.names[0]
    editor("#!/bin/sh\nsed -i 's/=== assistant ===/=== user ===/' \"$1\"\n")
    assert "the edited turns make no conversation: invalid role sequence: turn 2 is user after user" in press(
        reviewed, "e", capsys
    )
    editor("#!/bin/sh\n")
    assert "nothing was changed" in press(reviewed, "e", capsys)
    editor("#!/bin/sh\nexit 3\n")
    assert "the editor ended with exit code 3: nothing was changed" in press(reviewed, "e", capsys)
    monkeypatch.setenv("EDITOR", "/none/such")
    assert "the editor /none/such cannot be used" in press(reviewed, "e", capsys)
    assert read_reviews(reviewed.ledger, name) == []
    editor(EDITOR)
    said = press(reviewed, "e", capsys)
    assert "of the edited text: 2 turns; 8 to 16 are best" in said
    [review] = read_reviews(reviewed.ledger, name)
    assert (review.decision, review.turns and review.turns[1].content) == (
        "edit",
        "It depends on who owes the money, and may be 0.",
    )


def test_a_text_that_made_no_conversation_is_opened_again(
    reviewed: Reviewed,
    capsys: pytest.CaptureFixture[str],
    editor: Callable[[str], None],
) -> None:
    editor(
        '#!/bin/sh\nif grep -q ruined "$1"; then sed -i \'s/ruined/assistant/; s/may be/can be/\' "$1"; else sed -i \'s/assistant ===/ruined ===/\' "$1"; fi\n'
    )
    said = press(reviewed, "ee", capsys)
    assert "turn 2 has the role 'ruined'" in said and "e opens the text again" in said
    assert decisions(reviewed)[0] == ["edit"]


def test_an_edit_that_somebody_was_quicker_with_is_shown_theirs_and_kept(
    reviewed: Reviewed, capsys: pytest.CaptureFixture[str], editor: Callable[[str], None]
) -> None:
    editor(EDITOR)
    queue = choose(reviewed.ledger, reviewed.plan, reviewed.dataset, Sample("rejected"), reviewer="Ada")
    name = queue.todo[0].draw.conversation_id

    def keys() -> Iterator[str]:
        decide(reviewed.ledger, name, "edit", "Ben", now=NOW, turns=TURNS)
        yield from "eeq"

    waiting = keys()
    ReviewSession(reviewed.ledger, reviewed.plan, queue, "Ada", lambda: next(waiting), lambda: NOW).run()
    said = capsys.readouterr().out
    assert "Ben has edited this conversation meanwhile" in said and "It depends on who owes the money." in said
    assert [one.reviewer for one in read_reviews(reviewed.ledger, name)] == ["Ben", "Ada"]
    assert "may be" in read_current(reviewed.ledger, name)[1].turns[1].content


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal as standard input; its other end, to type at."""
    typed, screen = pty.openpty()
    with os.fdopen(screen) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield typed
    os.close(typed)


def test_a_key_is_read_without_enter_and_an_arrow_is_no_letter(terminal: int) -> None:
    os.write(terminal, b"A\x1b[Ar")
    assert [read_key(), read_key()] == ["a", "\x1b"]
    os.write(terminal, b"\x1b")
    assert read_key() == "\x1b"
    os.write(terminal, b"s")
    assert read_key() == "s"


def test_ctrl_d_ends_a_review_as_q_does(
    reviewed: Reviewed,
    run_here: Callable[..., Done],
    terminal: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    os.write(terminal, b"a\x04")
    done = run_here("review", "spoken", "--reviewer", "Ada", "--sample", "rejected")
    assert (done.code, "1 of 3 · 1 accepted · 2 left" in done.out, done.err) == (0, True, "")
    typing = threading.Timer(0.3, lambda: os.write(terminal, b"\x04"))
    typing.start()
    assert read_key() == ""
    monkeypatch.setattr("convoforge.cli.review_keys.out.input", Mock(side_effect=EOFError))
    assert press(reviewed, "wa", capsys).rstrip().endswith("2 left"), "in a note, too"
    assert sum(map(len, decisions(reviewed))) == 1


def test_a_terminal_is_asked_and_the_rest_is_said(
    reviewed: Reviewed,
    run_here: Callable[..., Done],
    terminal: int,
) -> None:
    os.write(terminal, b"raq")
    done = run_here("review", "spoken", "--reviewer", "Ada", "--sample", "rejected")
    assert (done.code, "2 conversations reviewed: 1 accepted, 1 rejected" in done.out) == (0, True)
    os.write(terminal, b"aaq")
    assert run_here("review", "spoken", "--reviewer", "Ben", "--sample", "rejected", "--again", "--limit", "2").code == 0
    found = run_here("review", "spoken", "--reviewer", "Ada", "--json").last
    assert (found["todo"], found["done"], found["decisions"]) == (4, 2, {"accept": 2})
    assert found["agreement"][0] == {
        "reviewers": ["Ada", "Ben"],
        "pairs": 2,
        "agreement": 0.5,
        "kappa": 0.0,
        "kappa_low": found["agreement"][0]["kappa_low"],
        "kappa_high": found["agreement"][0]["kappa_high"],
    }
    assert [one["status"] for one in found["queue"]] == ["needs_revision", "accepted", "accepted", "accepted"]


def test_what_cannot_be_is_said_in_one_line(reviewed: Reviewed, run_here: Callable[..., Done]) -> None:
    for words, message in (
        (("spoken",), "reads keys from a terminal, and there is none: --json prints"),
        (("spokn",), "the ledger knows no dataset 'spokn'"),
        (("spoken", "--sample", "bordeline"), "is no sample; did you mean 'borderline'?"),
        (("spoken", "--export", "a", "--import", "b"), "are two things"),
        (("spoken", "--import", "none.jsonl"), "none.jsonl cannot be read"),
    ):
        done = run_here("review", *words)
        assert (done.code, message in done.err.replace("\n", " ")) == (2, True), done.err


def test_the_next_publish_holds_the_edit_and_each_change_makes_a_version(
    reviewed: Reviewed,
    run_here: Callable[..., Done],
    tmp_path: Path,
    project: Project,
) -> None:
    path = tmp_path / "a.jsonl"
    assert run_here("review", "spoken", "--sample", "rejected", "--export", str(path), "--json").last["conversations"] == 3
    lines = path.read_text().splitlines()
    edited = (
        '"reviews":[{"decision":"edit","messages":[{"role":"user","content":"Is it?"},{"role":"assistant","content":"It IS."}]}]'
    )
    path.write_text(lines[0].replace('"reviews":[]', edited) + "\n")
    done = run_here("review", "spoken", "--import", str(path), "--reviewer", "Ada")
    assert (done.code, "1 decision" in done.out, "convoforge publish spoken" in done.out) == (0, True, True)
    first = run_here("publish", "spoken", "--json").last
    assert (first["version"], first["rows"], first["needs_revision"]) == (1, 4, 2)
    [row] = [one for one in pl.read_parquet(f"{first['path']}/data/*.parquet").to_dicts() if "edited" in one["flags"]]
    assert [one["content"] for one in row["messages"]] == ["Is it?", "It IS."]
    assert (row["n_turns"], row["score"], row["accepted"]) == (2, 4, True)
    # a content hash does not tell IS from is: a version does
    path.write_text(path.read_text().replace("It IS.", "It is."))
    assert run_here("review", "spoken", "--import", str(path), "--reviewer", "Ada").code == 0
    assert run_here("publish", "spoken", "--json").last["version"] == 2
    shown = run_here("show", "spoken", "--limit", "9", "--json").last["rows"]
    assert [one["messages"][1]["content"] for one in shown if one["edited"]] == ["It is."]
