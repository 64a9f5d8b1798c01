"""`convoforge build`: the forecast, a question before money is spent, the run with its progress, and a summary to understand."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic import Field
from rich.markup import escape

from convoforge.background import background_task
from convoforge.cli.build_display import announce_build, show_build, summarize_build
from convoforge.cli.console import ask, errors, out, print_json
from convoforge.cli.local_server import open_server
from convoforge.cli.parameters import DONE, ENDED_SHORT, FAILED, AsJson
from convoforge.errors import ConfigError, ConvoforgeError, format_count
from convoforge.orchestration.dead_runs import HEARTBEAT_SECONDS, await_task_runs, mark_dead_runs
from convoforge.orchestration.event_loop import run_build
from convoforge.orchestration.server_home import AUTH
from convoforge.planning.options import STRAND, BuildOptions, explain_model, resolve_spec
from convoforge.pricing import dollars
from convoforge.project import show_database
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.dataset.forecast import Forecast
    from convoforge.tasks.report import BuildReport

DELIVERY_SECONDS = 20.0
"""Maximum seconds for the last events and logs of a run to reach Prefect."""

HASTE_SECONDS = 0.5
"""The same, where somebody wants out at once."""


class CommandOptions(BuildOptions):
    """The options of a build as a command takes them. What may leave a dataset, and what may be spent, is decided by a person, or by
    `--yes`."""

    wait: Annotated[bool, Parameter(negative="--no-wait")] = Field(
        default=True, description=BuildOptions.model_fields["wait"].description
    )
    strand: Annotated[float, Parameter(parse=False)] = STRAND
    approve_above_usd: Annotated[Decimal | None, Parameter(parse=False)] = None


Spec = Annotated[str, Parameter(help="The name of a spec in configs/datasets, or the path of a .yaml file.")]
Options = Annotated[CommandOptions, Parameter(name="*", negative="")]
UNCHANGED = CommandOptions()


def build(
    spec: Spec,
    /,
    *,
    options: Options = UNCHANGED,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask before spending.")] = False,
    as_json: AsJson = False,
) -> int:
    """Build a dataset from here, with a Prefect server found or started for it.

    Before a real build spends, it asks. Without a terminal to ask at (cron, CI) it spends nothing unless `--yes` was given; what it
    may do for free it does, and then a change of the spec may not take much out of the dataset.
    """
    from convoforge.dataset.forecast import forecast, read_known
    from convoforge.ledger.failed_starts import keep_failed_start
    from convoforge.telemetry import explain_missing

    settings = Settings()
    resolved = resolve_spec(spec, options, settings)
    with keep_failed_start(settings.database_url, resolved, options.provider):
        seen = forecast(read_known(resolved, options, settings), options)
        if not options.simulate and not settings.accounts:
            raise ConfigError("no API key: set ANTHROPIC_API_KEY, or try it without one: --simulate")
        _check_address(settings, simulate=options.simulate)
    asks = not yes and not options.simulate
    spends = bool(seen.missing or seen.status.unscored or seen.status.to_judge)
    if missing := explain_missing():
        errors.print(f"[yellow]{escape(missing)}[/yellow]")
    if not as_json:
        out.print(f"[dim]ledger: {escape(show_database(settings.database_url))}[/dim]")
        announce_build(seen, options, explain_model(spec, options, settings))
    if spends and asks and sys.stdin.isatty():
        Thread(target=_import_sdk, daemon=True).start()  # somebody reads what it costs first, and then waits 2 s less
    if asks and (spends or (seen.stranded.conversations and sys.stdin.isatty())) and not _agreed(seen):
        out.print("Nothing was sent.")
        return ENDED_SHORT
    if not asks or sys.stdin.isatty():  # somebody agreed, so as much may leave as the forecast says
        options = options.model_copy(update={"strand": 1.0})
    try:
        with _prepared(own_server=options.workers is None):
            Thread(target=_import_sdk, daemon=True).start()  # while Prefect answers
            report = run_build(_run({"spec": spec, "options": BuildOptions.of(**dict(options))}))
    except asyncio.CancelledError:  # a second Ctrl-C
        errors.print("[red]convoforge: stopped at once; calls that were in flight may have been billed[/red]")
        sys.stdout.flush()
        os._exit(130)  # an orderly exit waits for Prefect to deliver to a server that is gone
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        summarize_build(report)
    return {"failed": FAILED, "partial": ENDED_SHORT}.get(report.state, DONE)


def _check_address(settings: Settings, *, simulate: bool) -> None:
    """Raises `FatalAPIError` where nothing listens at `ANTHROPIC_BASE_URL`: sooner than a run, for which a server is started first."""
    from convoforge.claude.http import check_reachable, is_loopback

    root = settings.api_root
    if settings.base_url is not None and (is_loopback(root) or (settings.api == "anthropic" and not simulate)):
        check_reachable(root)


@contextmanager
def _prepared(*, own_server: bool) -> Iterator[None]:
    """A Prefect server to report to, and the flow imported. Raises `ConfigError` where the build needs workers, which a server of its own
    has not, and no other server runs."""
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # progress is ours to show; the UI keeps the logs
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", str(HEARTBEAT_SECONDS))
    os.environ.setdefault("PREFECT_PLUGINS_ENABLED", "false")  # ours looks for a server, which `open_server` does here
    status = errors.status("[dim]Connecting to the Prefect server …[/dim]")

    def starting() -> None:
        if not own_server:
            raise ConfigError("--workers needs a Prefect server with workers: run `make up`, or set PREFECT_API_URL")
        message = "[dim]Starting a local Prefect server (the first start takes about 15 s) …[/dim]"
        if errors.is_terminal:
            status.update(message)
        else:
            errors.print(message)

    with warnings.catch_warnings(), _ended_like_ctrl_c(signal.SIGTERM):
        warnings.simplefilter("ignore")  # deprecations inside Prefect's own dependencies are no news for whoever builds a dataset
        if errors.is_terminal:
            status.start()
        try:
            with open_server(starting, meanwhile=_import_run) as server:
                if server.process is not None:  # one of ours
                    with suppress(OSError):  # the run itself says so where the server does not answer
                        mark_dead_runs(server.url, os.environ.get(AUTH))
                import convoforge.flows.build_dataset  # noqa: F401 - Prefect reads PREFECT_API_URL once, when it is imported

                status.stop()
                patience, begun = DELIVERY_SECONDS, datetime.now(UTC)
                try:
                    yield
                except (KeyboardInterrupt, asyncio.CancelledError):
                    patience = HASTE_SECONDS
                    raise
                finally:
                    _deliver_the_rest(patience)
                    if server.process is not None and server.idle_seconds == 0 and patience == DELIVERY_SECONDS:
                        with suppress(OSError):
                            await_task_runs(server.url, os.environ.get(AUTH), begun, DELIVERY_SECONDS)
        finally:
            status.stop()


def _import_sdk() -> None:
    with suppress(Exception):  # raised again where it is needed
        import_module("convoforge.claude.client")


def _import_run() -> None:
    """Import Prefect and the SDK while a server comes up: 4 s, and 13 s where nothing was compiled before."""
    with suppress(Exception):
        import_module("convoforge.flows.build_dataset")
    _import_sdk()


@contextmanager
def _ended_like_ctrl_c(number: signal.Signals) -> Iterator[None]:
    """A signal that would end this process without a word ends it in order, while the run does not handle it itself yet."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    try:
        yield
    finally:
        signal.signal(number, before)


def _deliver_the_rest(seconds: float) -> None:
    """Prefect sends events and logs behind the run; a server stopped before they have arrived would hold up our exit for a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(timeout=seconds)


async def _run(parameters: dict[str, Any]) -> BuildReport:
    """The report of the run. Raises what ended it before there was one."""
    from prefect.exceptions import ParameterTypeError

    from convoforge.flows.build_dataset import build_dataset
    from convoforge.tasks.report import BuildReport

    async with background_task(show_build()):
        try:
            state = await build_dataset(**parameters, return_state=True)
        except Exception as error:  # what the flow raises is in its state: this is Prefect itself
            why = str(error).partition("\n")[0]
            hint = "; set PREFECT_API_AUTH_STRING to that server's auth string" if " 401 " in f"{why} ".replace("'", " ") else ""
            raise ConvoforgeError(f"Prefect fails (PREFECT_API_URL={os.environ['PREFECT_API_URL']}): {why}{hint}") from error
    result: Any = await state.aresult(raise_on_failure=False)
    if isinstance(result, BuildReport):
        return result
    if isinstance(result, ParameterTypeError):
        raise ConfigError(" ".join(str(result).split()))
    raise result


def _agreed(seen: Forecast) -> bool:
    """Whether somebody says yes to what it costs, and to what leaves the dataset."""
    cap = seen.plan.spec.budget.run_usd
    capped = f", at most {dollars(cap)}" if cap is not None else ""
    gone = (
        f" and let {format_count(seen.stranded.conversations, 'conversation')} leave the dataset"
        if seen.stranded.conversations
        else ""
    )
    return ask(f"Spend {seen.costs.cost}{capped}{gone}?")
