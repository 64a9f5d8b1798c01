"""`make setup` and what needs it: how far pip is, and its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STAND_IN = f"""#!/bin/sh
case "$*" in
*"-m venv"*) mkdir -p .venv/bin .venv/lib/python3/site-packages/one.dist-info; cp "$0" .venv/bin/python;;
*--editable*)
    for name in 1 2 3 4 5 6 7 8 9 10; do echo "Collecting $name"; done
    echo "Installing collected packages: one, two"
    sleep 4
    exit $(cat code);;
"-c "*) exec {sys.executable} "$@";;
esac
"""
"""What answers as Python with pip would, and installs nothing."""


@pytest.mark.server  # it starts commands
@pytest.mark.parametrize("code", [0, 1])
def test_setup_shows_how_far_it_is_and_fails_as_pip_does(tmp_path: Path, code: int) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "code").write_text(str(code))
    (tmp_path / "python").write_text(STAND_IN)
    (tmp_path / "python").chmod(0o755)
    command = ["make", "--no-print-directory", ".venv/.ready", f"PYTHON={tmp_path / 'python'}"]  # `make test` is a make above it
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[2:] == ["10 packages found …", "installing them …", "1 packages installed …"], done.stderr
    assert (done.returncode == 0) == (code == 0) == (tmp_path / ".venv" / ".ready").exists()
