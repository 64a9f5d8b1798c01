"""What `convoforge doctor` looks at: the configuration as it is now, against what production needs. Nothing is changed or paid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from convoforge.checks.account import check_account_and_clock
from convoforge.checks.ledger import check_ledger, check_spending
from convoforge.checks.machine import check_disk, check_permissions, check_versions
from convoforge.checks.server import check_server
from convoforge.checks.specs import check_specs, read_specs
from convoforge.errors import ConvoforgeError
from convoforge.finding import Finding, bad
from convoforge.settings import Settings


def run_checks(settings: Settings, now: datetime) -> Iterator[Finding]:
    """The findings, as they come, in the order in which a person would look. A check that fails itself is a finding, too."""
    specs, faults = read_specs(settings)
    yield from faults
    checks: Sequence[tuple[str, Callable[[], Iterator[Finding]]]] = (
        ("versions", check_versions),
        ("key", lambda: check_account_and_clock(settings, specs)),
        ("specs", lambda: check_specs(specs, now)),
        ("ledger", lambda: check_ledger(settings)),
        ("spending", lambda: check_spending(settings, specs, now)),
        ("disk", lambda: check_disk(settings)),
        ("permissions", lambda: check_permissions(settings)),
        ("Prefect server", lambda: check_server(now)),
    )
    for name, check in checks:
        try:
            yield from check()
        except (ConvoforgeError, OSError) as error:
            yield bad(name, f"{error}", "see the message; `convoforge doctor` again shows whether it is mended")
