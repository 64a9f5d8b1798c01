"""What `convoforge doctor` looks at, as a page: looked at in a thread, and again at most once a minute."""

from __future__ import annotations

import threading
import time
from collections import Counter
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from convoforge.checks import run_checks
from convoforge.finding import Finding
from convoforge.settings import Settings
from convoforge.viewer.pages import page
from convoforge.viewer.state import Opened

KEPT_SECONDS = 60.0

router = APIRouter(include_in_schema=False)


class Examination:
    """One look at everything, in a thread of its own: `findings` grow while it goes on."""

    def __init__(self, settings: Settings) -> None:
        self.findings: list[Finding] = []
        self.began_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._look, args=(settings,), name="examination", daemon=True)
        self._thread.start()

    @property
    def goes_on(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_old(self) -> bool:
        """Whether it is time to look again."""
        return not self.goes_on and time.monotonic() - self._began > KEPT_SECONDS

    def _look(self, settings: Settings) -> None:
        for one in run_checks(settings, self.began_at):
            self.findings.append(one)


@router.get("/health")
async def show_health(request: Request, viewer: Opened) -> HTMLResponse:
    """The findings until now."""
    last: Examination | None = getattr(request.app.state, "examination", None)
    if last is None or last.is_old:
        request.app.state.examination = last = Examination(viewer.settings)
    findings = sorted(last.findings, key=lambda one: ("bad", "warning", "good").index(one.state))
    counts = Counter(one.state for one in findings)
    return page(request, "health.html.jinja", section="health", findings=findings, counts=counts, look=last)
