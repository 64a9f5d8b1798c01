"""What tests hold in their hands: a project of their own with its command line, a running simulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

S3_KEY, S3_SECRET = "AKIAOFNOBODY00000000", "a-secret-of-nobody"


def _handle_ctrl_c() -> None:
    """A suite that was started in the background ignores Ctrl-C, and its children would, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
        return subprocess.Popen(
            [sys.executable, "-m", "convoforge", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_handle_ctrl_c,  # noqa: PLW1509 - it sets one signal, and takes no lock
        )

    def run(self, *arguments: str, timeout: float = 120, **environment: str) -> Done:
        """A command, run to its end."""
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{arguments} did not end in {timeout} s\n{out}\n{err}") from None
        return Done(process.returncode, out, err)


def quality(score: int, turns: int = 3, length: int = 3, structure: int = 4) -> Any:
    """A quality by the three scorers that a spec has if it names none."""
    from convoforge.models import Quality, ScorerResult

    parts = (("turns", turns, 3), ("length", length, 3), ("structure", structure, 4))
    return Quality(score, tuple(ScorerResult(name, 1, points, most, None) for name, points, most in parts))


@dataclass(frozen=True)
class Simulator:
    """A running simulator and its control endpoints."""

    url: str

    def script(self, *faults: Any, match: str | None = None) -> None:
        """Answer the next requests (that hold `match`) like this, one after the other."""
        body = json.dumps({"faults": list(faults), "match": match}).encode()
        request = urllib.request.Request(f"{self.url}/_simulator/script", body, {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()

    def script_nothing(self) -> None:
        """Forget what was scripted and not met, and everything else: as just started."""
        request = urllib.request.Request(f"{self.url}/_simulator/reset", b"{}", {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()

    def usage(self, *, requests: bool = False) -> dict[str, Any]:
        """What it has billed and counted."""
        with urllib.request.urlopen(f"{self.url}/_simulator/usage{'?requests=1' if requests else ''}", timeout=10) as response:
            found: dict[str, Any] = json.load(response)
            return found
