"""`convoforge check`: what a trainer would do with a published version."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from convoforge.cli.console import grid, out, print_json, show_progress
from convoforge.cli.findings import count_findings, show_finding
from convoforge.cli.parameters import DONE, FAILED, AsJson, Positive, Simulated, VersionNumber
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.training.checking import TrainingCheck

_WHO = ("conversation", "system", "user", "assistant", "template")


def check(
    dataset: Annotated[str, Parameter(help="The name of a dataset.")],
    /,
    *,
    tokenizer: Annotated[
        str | None,
        Parameter(
            help="Of the model to train: a folder, or a name in Hugging Face's local cache. Without it tokens are estimated."
        ),
    ] = None,
    max_length: Annotated[int | None, Positive, Parameter(help="Tokens that the trainer is to cut at.")] = None,
    chat_template: Annotated[Path | None, Parameter(help="A Jinja file, in the place of the tokenizer's own.")] = None,
    number: VersionNumber = None,
    simulated: Simulated = False,
    as_json: AsJson = False,
) -> int:
    """Read every row, and say what keeps it from being learned: lengths, roles, chat template, duplicates, leakage, columns."""
    from convoforge.publish.reading import find_published
    from convoforge.training.checking import TrainingChecker

    published = find_published(Settings().data_dir, dataset, simulated=simulated, number=number)
    checker = TrainingChecker(
        published, tokenizer=tokenizer, max_length=max_length, chat_template=chat_template, now=datetime.now(UTC)
    )
    show_progress(checker.run(), published.manifest.rows, "conversations", quiet=as_json)
    found = checker.finish()
    manifest = published.manifest
    if as_json:
        about = {
            "dataset": dataset,
            "provider": manifest.provider,
            "version": manifest.version,
            "path": str(published.version.path),
        }
        print_json({**about, "rows": manifest.rows, "splits": dict(manifest.splits), "tokenizer": tokenizer, **found.as_json()})
        return DONE if found.passed else FAILED
    name = f"{dataset}{' (simulated)' if manifest.provider == 'simulator' else ''}"
    out.print(f"[bold]{name}[/bold], version {manifest.version}: {manifest.rows:,} conversations\n")
    for one in found.findings:
        out.print(show_finding(one))
    _print_tokens(found)
    mend = count_findings(found.findings)["bad"]
    out.print(f"\n{'It can be trained on' if found.passed else f'Not to be trained on as it is: {mend} to mend'}.")
    return DONE if found.passed else FAILED


def _print_tokens(found: TrainingCheck) -> None:
    """Who says how much, and how many conversations and turns have how many tokens."""
    tokens, who = found.tokens, [one for one in _WHO if one in found.tokens.spreads]
    spreads = [(one, *tokens.spreads[one].figures, f"{tokens.totals[one]:,}") for one in who]
    out.print()
    out.print(grid(["tokens", "least", "median", "95 %", "99 %", "most", "in all"], spreads))
    bins = sorted({limit for one in who for limit in tokens.bins[one]})
    rows = [(f"{limit:,}", *(f"{tokens.bins[one].get(limit, 0):,}" for one in who)) for limit in bins]
    out.print()
    out.print(grid(["up to tokens", *who], rows))
