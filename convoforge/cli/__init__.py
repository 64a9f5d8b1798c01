"""The command line. Each command is a function here and a file beside it; nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from convoforge.cli.console import OutputError, Screen, flush_output, out, prepare_streams, print_json
from convoforge.errors import ConfigError, ConvoforgeError, shown
from convoforge.printable import is_text, printable_line

DONE, FAILED, WRONG_INPUT, ENDED_SHORT, STOPPED = 0, 1, 2, 3, 130

LONGEST = 1_200
"""Characters of a message: it may repeat what was given, of any length."""

app = App(
    name="convoforge",
    help="Training conversations with Claude: a spec in, a priced, scored, trainable dataset out.",
    version_flags=[],
    console=out,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # else it would end without a word
    help_epilogue="Exit codes: 0 done; 1 failed; 2 wrong input; 3 ended short (budget, stop, exhausted cells, failures left).",
)
errors = Screen(stderr=True, soft_wrap=True)

Spec = Annotated[str, Parameter(help="The name of a spec in configs/datasets, or the path of a .yaml file.")]
Dataset = Annotated[str, Parameter(help="The name of a dataset.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object as the last line.")]
Simulated = Annotated[bool, Parameter(negative="", help="Look at what the simulator wrote, instead of real data.")]
Simulate = Annotated[bool, Parameter(negative="", help="Let a local simulator answer: no key, no cost.")]
Batch = Annotated[bool, Parameter(negative="", help="Make requests in message batches: half the price, within a day.")]
Positive = Parameter(validator=Number(gte=1))
Score = Parameter(validator=Number(gte=1, lte=10))
Limit = Annotated[int | None, Positive, Parameter(help="Generate at most so many conversations in this run.")]
OtherModel = Annotated[str | None, Parameter(help="Use this model instead of the spec's.")]
Budget = Annotated[Decimal | None, Parameter(help="What this run may spend, in US dollars.")]
MinScore = Annotated[int | None, Score, Parameter(help="Accept from this score (1 to 10) upwards.")]
Span = Parameter(validator=Number(gte=0, lte=86_400_000))
Port = Parameter(validator=Number(gte=0, lte=65_535))


@app.command
def init(folder: Annotated[Path, Parameter(help="A folder that is new or empty.")], /) -> int:
    """Make a project: specs, templates, personas and settings to start from."""
    from convoforge.cli.init import make_project

    return make_project(folder)


@app.command
def build(
    spec: Spec,
    /,
    *,
    simulate: Simulate = False,
    limit: Limit = None,
    model: OtherModel = None,
    concurrency: Annotated[int | None, Positive, Parameter(help="Calls in flight at once.")] = None,
    budget: Budget = None,
    min_score: MinScore = None,
    refresh: Annotated[bool, Parameter(negative="", help="Pay again for conversations whose prompt has changed.")] = False,
    retry_refused: Annotated[
        bool, Parameter(negative="", help="Ask again, unchanged, what the API refused in earlier runs.")
    ] = False,
    workers: Annotated[
        int | None, Parameter(validator=Number(gte=1, lte=100), help="Let so many Prefect workers generate.")
    ] = None,
    batch: Batch = False,
    wait: Annotated[bool, Parameter(help="Wait for batches; else the next build collects them.")] = True,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask before spending.")] = False,
    json: AsJson = False,
) -> int:
    """Plan, price, generate with live progress, score, publish; print where it lies."""
    from convoforge.cli.build import run_build
    from convoforge.planning.options import BuildOptions

    options = BuildOptions.of(
        simulate=simulate,
        limit=limit,
        model=model,
        concurrency=concurrency,
        budget=budget,
        min_score=min_score,
        refresh=refresh,
        retry_refused=retry_refused,
        workers=workers,
        batch=batch,
        wait=wait,
    )
    return run_build(spec, options, yes=yes, as_json=json)


@app.command
def plan(
    spec: Spec,
    /,
    *,
    simulate: Simulate = False,
    limit: Limit = None,
    model: OtherModel = None,
    budget: Budget = None,
    min_score: MinScore = None,
    batch: Batch = False,
    count: Annotated[
        bool | None,
        Parameter(help="Let the API count some prompts' tokens, which is free. Without this option: where there is a key."),
    ] = None,
    pilot: Annotated[int | None, Positive, Parameter(help="First pay for so many draws, which the build then keeps.")] = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask before a pilot spends.")] = False,
    json: AsJson = False,
) -> int:
    """Show what a build would do and cost; spend nothing but for a pilot."""
    from convoforge.cli.plan import show_plan
    from convoforge.planning.options import BuildOptions

    options = BuildOptions.of(simulate=simulate, limit=limit, model=model, budget=budget, min_score=min_score, batch=batch)
    return show_plan(spec, options, count=count, pilot=pilot, yes=yes, as_json=json)


@app.command
def generate(
    *,
    persona: str,
    emotion: str,
    topic: str,
    template: Annotated[str, Parameter(help="A template in configs/templates.")] = "advice",
    tier: Annotated[str | None, Parameter(help="The tier; the template's first, if not given.")] = None,
    param: Annotated[
        list[str] | None, Parameter(help="A template parameter, as NAME=VALUE; may be repeated.", negative="")
    ] = None,
    model: str | None = None,
    max_tokens: Annotated[int | None, Positive] = None,
    temperature: Annotated[float | None, Parameter(help="Sent where the model takes it.")] = None,
    simulate: Simulate = False,
    json: AsJson = False,
) -> int:
    """Generate one conversation and print it."""
    from convoforge.cli.generate import run_generate

    return run_generate(
        persona=persona,
        emotion=emotion,
        topic=topic,
        template=template,
        tier=tier,
        parameters=param or [],
        model=model,
        max_tokens=max_tokens,
        temperature=temperature,
        simulate=simulate,
        as_json=json,
    )


@app.command
def status(run: Annotated[str | None, Parameter(help="A run's id, or how it begins.")] = None, /, *, json: AsJson = False) -> int:
    """Show the latest runs, or one run with its cells and rate."""
    from convoforge.cli.status import show_status

    return show_status(run, as_json=json)


@app.command
def show(
    dataset: Dataset,
    /,
    *,
    limit: Annotated[int, Positive, Parameter(help="How many conversations.")] = 3,
    rejected: Annotated[bool, Parameter(help="The newest that were not accepted, with the reasons.")] = False,
    simulated: Simulated = False,
    json: AsJson = False,
) -> int:
    """Print accepted conversations of a dataset, to be read."""
    from convoforge.cli.status import show_dataset

    return show_dataset(dataset, limit=limit, simulated=simulated, rejected=rejected, as_json=json)


@app.command
def costs(
    *,
    since: Annotated[str | None, Parameter(name="--from", help="First day (YYYY-MM-DD) or moment, UTC.")] = None,
    until: Annotated[
        str | None, Parameter(name="--to", help="Last day (YYYY-MM-DD), or a moment that is no longer counted, UTC.")
    ] = None,
    by: Annotated[Literal["run", "dataset", "model", "template", "day"] | None, Parameter(help="Group the figures.")] = None,
    simulated: Simulated = False,
    json: AsJson = False,
) -> int:
    """Show what was spent, on what, and what came of it."""
    from convoforge.cli.costs import show_costs

    return show_costs(since, until, by, simulated=simulated, as_json=json)


@app.command
def publish(
    dataset: Annotated[str, Parameter(help="The name of a dataset (its last run's spec), or the path of a spec.")],
    /,
    *,
    min_score: Annotated[int | None, Score, Parameter(help="Accept from this score upwards, instead of the spec's.")] = None,
    simulated: Simulated = False,
    allow_fewer: Annotated[bool, Parameter(negative="", help="Let `latest` move to a version with fewer rows.")] = False,
    json: AsJson = False,
) -> int:
    """Publish a new version from what the ledger holds; generate nothing."""
    from convoforge.cli.publish import run_publish

    return run_publish(dataset, min_score=min_score, simulated=simulated, allow_fewer=allow_fewer, as_json=json)


@app.command
def serve(
    *,
    host: Annotated[str, Parameter(help="What to listen on; any but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, Port, Parameter(help="0 takes a free one.")] = 8000,
    allowed_host: Annotated[
        tuple[str, ...], Parameter(help="A name that callers know this server by, besides its own; may be repeated.")
    ] = (),
    token_file: Annotated[
        Path | None, Parameter(help="A file with the tokens that callers bring, one a line; or set CONVOFORGE_API_TOKEN.")
    ] = None,
    simulate: Simulate = False,
    model: Annotated[str | None, Parameter(help="The model that writes; ANTHROPIC_MODEL, if not given.")] = None,
    max_requests: Annotated[int, Positive, Parameter(help="Requests to the API in any window, per key.")] = 50,
    window_seconds: Annotated[float, Parameter(help="How long a window is.")] = 60,
    pause_threshold: Annotated[float, Parameter(help="The share of the rate after which requests wait.")] = 0.9,
    queue: Annotated[bool, Parameter(help="Let requests wait for the rate, instead of refusing them with 429.")] = True,
    max_wait: Annotated[
        float, Parameter(help="Seconds that a request may wait for the rate; one that would wait longer is refused with 429.")
    ] = 300,
    caching: Annotated[bool, Parameter(help="Use the API's prompt cache: cheaper, but the first of many goes ahead.")] = True,
    max_connections: Annotated[int, Positive, Parameter(help="Connections at once; more are told 503.")] = 2_000,
    day_budget: Annotated[Decimal | None, Parameter(help="What may be spent in a UTC day, in US dollars.")] = None,
) -> int:
    """Serve the HTTP API: single conversations and batches, for products. Without a token it listens on loopback only."""
    from convoforge.cli.serve import run_serve

    return run_serve(
        host=host,
        port=port,
        simulate=simulate,
        model=model,
        max_requests=max_requests,
        window_seconds=window_seconds,
        pause_threshold=pause_threshold,
        queue=queue,
        max_wait=max_wait,
        caching=caching,
        max_connections=max_connections,
        allowed_hosts=allowed_host,
        token_file=token_file,
        day_budget=day_budget,
    )


@app.command
def simulate(
    *,
    port: Annotated[int, Port, Parameter(help="0 takes a free one.")] = 0,
    latency_ms: Annotated[float, Span, Parameter(help="Latency of an answer, in milliseconds.")] = 0,
    requests_per_minute: Annotated[int | None, Positive, Parameter(help="Refuse more with 429, per key and model.")] = None,
    batch_seconds: Annotated[float, Span, Parameter(help="Seconds to the end of a message batch.")] = 0,
    fault_rate: Annotated[str, Parameter(help="Random faults and their shares: 529=0.05,reset=0.01,prose=0.02.")] = "",
    seed: Annotated[int, Parameter(help="Seed of conversations and faults.")] = 0,
) -> int:
    """Run the simulator alone, and print how to use it instead of the Claude API."""
    from convoforge.cli.simulate import run_simulate

    return run_simulate(
        port=port,
        latency_ms=latency_ms,
        requests_per_minute=requests_per_minute,
        batch_seconds=batch_seconds,
        fault_rate=fault_rate,
        seed=seed,
    )


def main(arguments: list[str] | None = None) -> None:
    """The entry point of `convoforge`: one clear line for every fault, and an exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    prepare_streams()
    sys.exit(_guarded(lambda: _run(given), as_json=any(word.partition("=")[0] == "--json" for word in given)))


def _leave_at_once(code: int) -> NoReturn:
    """End the process without waiting for its threads. Ctrl-C may have left Python's import lock taken (it does, inside
    `importlib._bootstrap`): a thread that imports would wait for it forever, and an orderly exit for that thread."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def _run(arguments: list[str]) -> int:
    for word in arguments:
        if "\0" in word or not is_text(word):
            raise ConfigError(f"{shown(word)} is not UTF-8 text: type it anew, or rename the file")
    code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    flush_output()
    return code or DONE


def _guarded(command: Callable[[], int], *, as_json: bool) -> int:
    try:
        return command()
    except CycloptsError as error:
        return _fail("UsageError", f"{error}".strip().replace("\n", " "), WRONG_INPUT, as_json=as_json)
    except ConfigError as error:
        return _fail(type(error).__name__, str(error), WRONG_INPUT, as_json=as_json)
    except ConvoforgeError as error:
        return _fail(type(error).__name__, str(error), FAILED, as_json=as_json)
    except EOFError:
        return _fail("EOFError", "the question has no answer, so nothing was sent: --yes answers it", STOPPED, as_json=as_json)
    except KeyboardInterrupt:
        _leave_at_once(_fail("KeyboardInterrupt", "stopped", STOPPED, as_json=as_json))
    except Exception as error:  # noqa: BLE001 - whatever it is, a person reads one line, and its traceback is kept
        from convoforge.cli.faults import describe_fault

        return _fail(type(error).__name__, describe_fault(error), FAILED, as_json=as_json)


def _fail(kind: str, message: str, code: int, *, as_json: bool) -> int:
    message = message if len(message) <= LONGEST else f"{message[:LONGEST]} …"
    errors.print(f"convoforge: {printable_line(message)}", style="red", markup=False)
    if as_json:
        with suppress(OutputError):  # then it is what has just been said
            print_json({"error": {"type": kind, "message": message}, "exit_code": code})
    return code
