"""`convoforge doctor`: the configuration as it is, against what production needs; each line green, or with what to do."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from convoforge.cli.console import out, print_json
from convoforge.cli.findings import count_findings, show_finding
from convoforge.cli.parameters import DONE, FAILED, AsJson
from convoforge.orchestration.local_server import stop_server
from convoforge.settings import Settings


def doctor(
    *,
    stop: Annotated[
        bool,
        Parameter(name="--stop-server", negative="", help="Only stop the local Prefect server that waits for the next build."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Look at all that a run needs, and say what to do where something is missing. Nothing is changed, paid or started."""
    if stop:
        return _stop_server(as_json=as_json)
    from convoforge.checks import run_checks

    findings = []
    for one in run_checks(Settings(), datetime.now(UTC)):
        findings.append(one)
        if not as_json:
            out.print(show_finding(one))
    counts = count_findings(findings)
    if as_json:
        print_json({"findings": [asdict(one) for one in findings], **counts})
    else:
        out.print(f"\n{counts['good']} good, {counts['warning']} to know, {counts['bad']} to mend")
    return FAILED if counts["bad"] else DONE


def _stop_server(*, as_json: bool) -> int:
    ended = stop_server()
    if as_json:
        print_json({"server": ended})
    else:
        words = {"stopped": "stopped", "in use": "a build uses the server, which ends with it", "none": "no server of ours runs"}
        out.print(words[ended])
    return DONE
