"""Makes the pictures of `docs/what-you-see.md` from real runs: a Prefect server with a worker, a simulated build, a browser, commands.

`.venv/bin/python docs/make_screenshots.py [FOLDER]` needs playwright and a Chromium, and takes some minutes. It starts all it needs in a
folder of its own (FOLDER keeps it for another time), and stops it at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

from convoforge.orchestration.processes import any_free_port
from convoforge.orchestration.server_api import ask

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 110
WIDTH = 1_280
SETTLE_MS = 10_000
"""Milliseconds until a page of Prefect's UI has loaded what it shows."""


class Stage:
    """A project's environment of its own, and the commands in it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "prefect"
        self.data = folder / "data"
        port = os.environ.get("PREFECT_SERVER_API_PORT") or str(any_free_port())
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_API_PORT": port,
            "CONVOFORGE_DATA_DIR": str(self.data),
            "DO_NOT_TRACK": "1",
            "FORCE_COLOR": "1",
            "COLUMNS": str(COLUMNS),
        }

    def run(self, *command: str) -> str:
        """What a command prints, whatever its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def picture(self, name: str, *arguments: str) -> None:
        """Keep what `convoforge …` prints, with its colors, as an SVG."""
        console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
        console.print(Text(f"$ convoforge {' '.join(arguments)}", style="bold"))
        console.print(Text.from_ansi(self.run("convoforge", *arguments)))
        picture = console.export_svg(title="convoforge")
        (PICTURES / f"{name}.svg").write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL))  # they lie on the web

    def newest_run(self) -> str:
        """The id of the newest run in the ledger."""
        said = self.run("convoforge", "status", "--json").splitlines()[-1]
        return str(json.loads(said)["runs"][0]["run_id"])


def log_in(page: Page, stage: Stage) -> None:
    """Give the UI the password that it asks for once."""
    page.goto(stage.url)
    page.wait_for_timeout(SETTLE_MS)
    field = page.locator("input[type=password]")
    if field.count():
        field.first.fill((stage.home / "convoforge-server.auth").read_text().strip())
        page.keyboard.press("Enter")
        page.wait_for_timeout(SETTLE_MS)


def keep(page: Page, stage: Stage, path: str, name: str, height: int) -> None:
    """Keep the upper `height` pixels of a page of the UI as a PNG."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.goto(f"{stage.url}/{path}")
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=str(PICTURES / f"{name}.png"))


def look_up(stage: Stage, path: str, body: dict[str, object]) -> list[dict[str, str]]:
    """What Prefect's API answers to a filter."""
    found: list[dict[str, str]] = ask(f"{stage.url}/api", (stage.home / "convoforge-server.auth").read_text().strip(), path, body)
    return found


def make_pictures(stage: Stage) -> None:
    """Build by a deployment, then look at it from both sides."""
    print(stage.run("deployments.local", "up"), flush=True)
    options = '{"simulate": true}'
    run = ("prefect", "deployment", "run", "build-dataset/build", "-p", "spec=demo", "-p", f"options={options}", "--watch")
    print(stage.run(*run), flush=True)
    newest = stage.newest_run()
    stage.picture("plan", "plan", "demo")
    stage.picture("status", "status")
    stage.picture("status-of-a-run", "status", newest[:8])
    stage.picture("errors", "errors", newest[:8])
    stage.picture("doctor", "doctor")
    stage.picture("costs", "costs", "--simulated")
    [deployment] = look_up(stage, "/deployments/filter", {"deployments": {"name": {"any_": ["build"]}}})
    flow_run = look_up(
        stage, "/flow_runs/filter", {"deployments": {"name": {"any_": ["build"]}}, "sort": "START_TIME_DESC", "limit": 1}
    )[0]
    artifacts = look_up(
        stage, "/artifacts/filter", {"artifacts": {"type": {"any_": ["markdown"]}}, "sort": "CREATED_DESC", "limit": 1}
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        log_in(page, stage)
        keep(page, stage, f"deployments/deployment/{deployment['id']}/run", "form", 2_700)
        keep(page, stage, f"runs/flow-run/{flow_run['id']}", "run", 1_300)
        keep(page, stage, f"artifacts/artifact/{artifacts[0]['id']}", "artifact", 2_600)
        page.set_viewport_size({"width": WIDTH, "height": 1_040})
        page.goto((stage.data / "simulated" / "demo" / "latest" / "report.html").as_uri())
        page.screenshot(path=str(PICTURES / "report.png"))
        keep_viewer(page, stage)
        browser.close()


def keep_viewer(page: Page, stage: Stage) -> None:
    """Keep the page of the demo and one of its conversations, as the viewer shows them."""
    command = [sys.executable, "-m", "convoforge", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=stage.environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        found = re.search(r"http://[\d.]+:\d+", server.stdout.readline())
        assert found
        page.set_viewport_size({"width": WIDTH, "height": 1_060})
        page.goto(f"{found[0]}/simulated/demo")
        page.screenshot(path=str(PICTURES / "viewer-dataset.png"))
        page.goto(f"{found[0]}/simulated/demo/conversations?order=lowest+score&min_score=8")
        page.locator("a.open").first.click()
        page.wait_for_url("**/conversations/*?*")
        page.set_viewport_size({"width": WIDTH, "height": 900})
        page.screenshot(path=str(PICTURES / "viewer-conversation.png"))
        server.terminate()


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        stage = Stage(Path(sys.argv[1]).resolve() if sys.argv[1:] else Path(temporary))
        try:
            make_pictures(stage)
        finally:
            print(stage.run("deployments.local", "down"))
