"""What others wrote is printed, never obeyed."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from rich.markup import escape

from convoforge.cli.console import Screen, print_json
from convoforge.printable import escape_json, printable, printable_line

HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202edetrever\u2066\u200b\x00\x08\x7f\r\u2028\ud800\U000e0041"
TEXT = "Zoë said:\n\t«naïve» 👩‍👩‍👧 میخواهم … ok"


def test_text_of_people_stays_as_it_is() -> None:
    assert printable(TEXT) == TEXT
    assert printable("a\r\nb") == "a\nb"


@pytest.mark.parametrize("char", HOSTILE.replace("]0;owned", "").replace("[31mred", "").replace("2J", "").replace("detrever", ""))
def test_each_control_character_is_an_escape(char: str) -> None:
    assert printable(char).isascii()
    assert printable(char).isprintable()
    assert printable(char).startswith("\\")
    assert printable_line(f"a{char}b").isprintable()


def test_no_character_of_a_dangerous_kind_comes_through() -> None:
    for code in range(0x110000):
        char = chr(code)
        if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(char) in _BIDI:
            assert printable_line(char) != char, hex(code)


_BIDI = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")


def test_a_message_has_one_line() -> None:
    assert printable_line("a\nb\r\n\tc") == "a\\nb\\r\\n\\tc"


def test_json_means_the_same_and_holds_no_control_character() -> None:
    text = escape_json(json.dumps({"a": HOSTILE + TEXT}, ensure_ascii=False))
    assert json.loads(text) == {"a": HOSTILE + TEXT}
    assert printable_line(text) == text
    assert "Zoë" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_whatever_is_printed_goes_through_it(terminal: bool) -> None:
    from rich.padding import Padding

    from convoforge.cli.console import facts, grid

    file = io.StringIO()
    screen = Screen(file=file, force_terminal=terminal, width=200)
    screen.print(HOSTILE, markup=False)
    screen.print(f"[bold]{escape(HOSTILE)}[/bold]")
    screen.print(Padding(escape(HOSTILE), (0, 2)))
    screen.print(facts([("name", HOSTILE)]))
    screen.print(grid(["a"], [[HOSTILE]]))
    printed = file.getvalue()
    assert printed.count("\\x1b]0;owned\\x07\\x1b[31mred") == 5
    for char in "\x07\x9b\u202e\u2066\x00\ud800":
        assert char not in printed
    assert "\x1b]" not in printed
    assert "\x1b[31m" not in printed


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252"])
def test_json_for_any_encoding_of_standard_output(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", file)
    print_json({"a": HOSTILE + TEXT})
    assert json.loads(file.buffer.getvalue()) == {"a": HOSTILE + TEXT}
