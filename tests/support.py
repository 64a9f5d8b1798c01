"""What tests hold in their hands: a project of their own with its command line, a running simulator."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forked import start_command

S3_KEY, S3_SECRET = "AKIAOFNOBODY00000000", "a-secret-of-nobody"


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> Any:
        """The JSON object on the last line."""
        return json.loads(self.out.strip().splitlines()[-1])


@dataclass
class Project:
    """Configs, data and environment of its own, and the command line run in it as a real process."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def spec(self, name: str, /, **changes: Any) -> Path:
        """Write a small spec, with some keys changed."""
        import yaml

        spec = {
            "name": name,
            "model": "claude-sonnet-5-5",
            "templates": ["advice"],
            "axes": {
                "persona": ["Anxious Investor", "Confident Advisor"],
                "emotion": ["Fear", "Calm"],
                "topic": ["market volatility", "retirement planning"],
                "tier": ["template"],
            },
            "limits": {"max_requests": 100_000, "window_seconds": 60, "concurrency": 8},
            "retry": {"base_delay_seconds": 0.01, "jitter_seconds": 0.01, "timeout_seconds": 5},
            "budget": {"run_usd": 5},
            **changes,
        }
        path = self.folder / "configs" / "datasets" / f"{name}.yaml"
        path.write_text(yaml.safe_dump(spec, sort_keys=False))
        return path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A command, started."""
        return start_command(arguments, self.folder, {**os.environ, **self.environment, **environment})

    def run(self, *arguments: str, timeout: float = 120, **environment: str) -> Done:
        """A command, run to its end."""
        process = self.start(*arguments, **environment)
        out = err = ""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            with suppress(subprocess.TimeoutExpired):  # what it started may hold its streams
                out, err = process.communicate(timeout=10)
            raise AssertionError(f"{arguments} did not end in {timeout} s\n{out}\n{err}") from None
        return Done(process.returncode, out, err)


def quality(score: int, turns: int = 3, length: int = 3, structure: int = 4) -> Any:
    """A quality by the three scorers that a spec has if it names none."""
    from convoforge.models import Quality, ScorerResult

    parts = (("turns", turns, 3), ("length", length, 3), ("structure", structure, 4))
    return Quality(score, tuple(ScorerResult(name, 1, points, most, None) for name, points, most in parts))
