"""Text that others wrote, made safe to print: what would move a cursor, recolor a terminal, turn the reading direction or forge a
second line is shown as an escape, as Python and JSON write it, instead of being obeyed."""

from __future__ import annotations

import json
import re

_FORMATS = "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Bidirectional controls and characters without width. Joiners (U+200C, U+200D) are not among them: scripts and emoji need them."""

_ALL = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_FORMATS}]")
_BUT_LINES = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_FORMATS}]")


def printable(text: str) -> str:
    """The text with every control character as an escape, but for line breaks and tabs: for a text of several lines."""
    return _BUT_LINES.sub(_escape, text.replace("\r\n", "\n"))


def printable_line(text: str) -> str:
    """The text on one line: line breaks and tabs are escapes too. For messages and logs, where a second line could be forged."""
    return _ALL.sub(_escape, text)


def escape_json(text: str) -> str:
    """JSON text that means the same, with every control character in JSON's own escapes."""
    return _ALL.sub(lambda found: json.dumps(found[0])[1:-1], text)


def is_text(text: str) -> bool:
    """Whether a text can be written down: it holds no half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
