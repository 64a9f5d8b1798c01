"""An unexpected error in one line for a person, with its traceback kept in a file for a bug report."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback


def describe_fault(error: Exception) -> str:
    """One line: what happened, and for anything but a file that cannot be used, where the traceback is.

    With CONVOFORGE_DEBUG=1 the traceback is printed on standard error instead of being kept in a file.
    """
    if _debugs():
        sys.stderr.write(_traceback(error))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{_text(error.filename)} cannot be used: {error.strerror}. Is it there, yours, and on a disk with room?"
    if isinstance(error, OSError) and error.strerror:
        what = f"the operating system refused something: {error.strerror}"
    else:
        what = f"an internal error in convoforge: {type(error).__name__}: {_without_keys(' '.join(str(error).split())[:300])}"
    return f"{what}. {_keep(error)}"


def _debugs() -> bool:
    return os.environ.get("CONVOFORGE_DEBUG", "0") not in ("", "0")


def _keep(error: Exception) -> str:
    if _debugs():
        return "Its traceback is above"
    try:
        handle, path = tempfile.mkstemp(prefix="convoforge-", suffix=".traceback")  # readable by its owner alone
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_traceback(error))
    except OSError:
        return "Set CONVOFORGE_DEBUG=1 to see its traceback"
    return f"Its traceback is in {path}; please send it along when you report this"


_SECRETS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AWS_API_KEY",
    "ANTHROPIC_FOUNDRY_API_KEY",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


def _traceback(error: Exception) -> str:
    return _without_keys("".join(traceback.format_exception(error)))


def _without_keys(text: str) -> str:
    """The text without API keys, should one be in a message."""
    held = (os.environ.get(name, "") for name in _SECRETS)
    for key in filter(None, map(str.strip, ",".join(held).split(","))):
        text = text.replace(key, "[key]")
    return text


def _text(name: object) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)
