"""What nobody foresaw, in one line for a person, with its traceback kept where whoever mends it finds it."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback


def describe_fault(error: Exception) -> str:
    """One line: what happened, and for anything but a file that cannot be used, where the traceback is.

    With CONVOFORGE_DEBUG=1 the traceback is printed on standard error instead of being kept in a file.
    """
    if os.environ.get("CONVOFORGE_DEBUG", "0") != "0":
        sys.stderr.write(_traceback(error))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{_text(error.filename)} cannot be used: {error.strerror}. Is it there, yours, and on a disk with room?"
    if isinstance(error, OSError) and error.strerror:
        what = f"the operating system refused something: {error.strerror}"
    else:
        what = f"a fault of convoforge itself: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return f"{what}. {_keep(error)}"


def _keep(error: Exception) -> str:
    if os.environ.get("CONVOFORGE_DEBUG", "0") != "0":
        return "Its traceback is above"
    try:
        handle, path = tempfile.mkstemp(prefix="convoforge-", suffix=".traceback")  # readable by its owner alone
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_traceback(error))
    except OSError:
        return "Set CONVOFORGE_DEBUG=1 to see its traceback"
    return f"Its traceback is in {path}; please send it along when you report this"


def _traceback(error: Exception) -> str:
    """The traceback without API keys, should one be in a message."""
    text = "".join(traceback.format_exception(error))
    for key in os.environ.get("ANTHROPIC_API_KEY", "").split(","):
        text = text.replace(key.strip(), "[key]") if key.strip() else text
    return text


def _text(name: object) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)
