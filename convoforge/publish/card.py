"""The card of a version: `README.md`, which tells `datasets` how to load it and a person what is in it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal

import yaml

from convoforge.markdown import code, fenced, inline, table_row
from convoforge.pricing import dollars
from convoforge.printable import printable
from convoforge.publish.lengths import recommend_length
from convoforge.publish.manifest import GROUPS, Manifest
from convoforge.publish.measures import Measures
from convoforge.publish.report import LedgerFacts, split_costs
from convoforge.reasons import HEADINGS

NAME = "README.md"

_LONGEST_TABLE = 40
_LONGEST_LIST = 12
_STORED = (
    "It takes `pip install s3fs`, and the credentials from the environment (`AWS_ACCESS_KEY_ID` …; `AWS_ENDPOINT_URL` for another "
    "store than Amazon's); `HF_HUB_OFFLINE` must not be set. `LATEST` in the dataset's folder names the latest version.\n\n"
)
_TRAINERS = "TRL cuts at 1,024 tokens and axolotl drops what is over 512 unless told otherwise, neither with a word"


def render(manifest: Manifest, measures: Measures, facts: LedgerFacts, address: str) -> str:
    """The whole card. `address` is where the version lies, as a person would write it: a path or a URL."""
    sections = [
        _front_matter(manifest),
        f"# {manifest.dataset}, version {manifest.version}",
        _banner(manifest),
        _loading(manifest, measures, address),
        _splits(manifest, measures),
        _coverage(manifest, measures),
        _lengths(measures),
        _scores(manifest, measures),
        _left_out(manifest),
        _cost(manifest, measures, facts),
        _lineage(manifest),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def loading(address: str, split: str, name: str) -> str:
    """The two lines of Python that load a split of the version at `address` as `name`.

    With `datasets` 5.2 the address of a folder is taken for a local path (seen), so there the files are named.
    """
    path = json.dumps(f"{address}/data/{split}-*.parquet" if "://" in address else address, ensure_ascii=False)
    what = f'"parquet", data_files={{"{split}": {path}}}' if "://" in address else path
    return f'from datasets import load_dataset\n{name} = load_dataset({what}, split="{split}")'


def _front_matter(manifest: Manifest) -> str:
    """What the Hugging Face Hub reads of a card, and `datasets`."""
    simulated = ["simulated"] if manifest.provider == "simulator" else []
    config = {
        "config_name": manifest.config_name,
        "default": True,
        "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in manifest.splits],
    }
    fields = {
        "pretty_name": pretty_name(manifest),
        "language": [*manifest.recipe.languages],
        **_name_license(manifest.recipe.license),
        "size_categories": [size_category(manifest.rows)],
        "task_categories": ["text-generation"],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "tags": ["synthetic", *simulated, "conversational", "convoforge"],
        "configs": [config],
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---"


def _name_license(license: str | None) -> dict[str, str]:
    """As the Hub has it: a name in lower case, or `other` and what it is called."""
    own = license.removeprefix("LicenseRef-") if license else ""
    return {} if not license else {"license": license.lower()} if own == license else {"license": "other", "license_name": own}


def pretty_name(manifest: Manifest) -> str:
    """A dataset's name for people."""
    name = manifest.dataset.replace("-", " ").replace("_", " ").strip()
    return f"{name[:1].upper()}{name[1:]}{' (simulated)' if manifest.provider == 'simulator' else ''}"


def size_category(rows: int) -> str:
    """As the Hub has it: `n<1K`, `1K<n<10K` … `1M<n<10M`."""
    names = ("1K", "10K", "100K", "1M", "10M")
    above = sum(rows >= 10**power for power in range(3, 7))
    return f"{names[above - 1]}<n<{names[above]}" if above else "n<1K"


def _banner(manifest: Manifest) -> str:
    if manifest.provider != "simulator":
        return ""
    return (
        "> # ⚠ SIMULATED DATA: DO NOT TRAIN ON IT\n"
        "> Every conversation here was made up by a local simulator, and every cost is simulated. No model wrote a word of it."
    )


def _loading(manifest: Manifest, measures: Measures, address: str) -> str:
    first = next(iter(manifest.splits))
    models = ", ".join(code(model) for model in sorted(measures.coverage["model"]))
    return (
        f"{manifest.rows:,} conversations {manifest.authorship} {models}, "
        f"published {manifest.created_at:%Y-%m-%d %H:%M} UTC.\n\n"
        f"{fenced(loading(address, first, first), 'python')}\n\n"
        f"{_STORED if '://' in address else ''}"
        "`messages` is a list of `{role, content}`, the system turn first where there is one; it trains as it is. The other columns are "
        'for choosing, weighing and tracing rows: a loader that makes tensors of all columns, as `with_format("torch")` does, wants '
        f'`{first}.select_columns(["messages"])` first, as `cost_usd` is an exact decimal and `generated_at` a time.\n\n'
        "[report.html](report.html) shows this version: coverage, scores, what was not accepted and why, lengths, variety, cost, and "
        "twenty conversations. [croissant.json](croissant.json) describes the columns.\n\n"
        f"Set the trainer's `max_length` to **{recommend_length(measures.tokens.maximum):,}** tokens. {_TRAINERS}.\n\n"
        f"{_license(manifest)}Anthropic's terms restrict training models on Claude's outputs without authorization: see that you have it."
    )


def _license(manifest: Manifest) -> str:
    return f"License: {code(manifest.recipe.license)}. " if manifest.recipe.license else "The spec names no license. "


def _splits(manifest: Manifest, measures: Measures) -> str:
    recipe = manifest.recipe
    table = _table(
        ("split", "conversations", "share", "asked for", "groups"),
        (
            (split, f"{rows:,}", f"{rows / manifest.rows:.1%}", f"{recipe.fractions[split]:.1%}", f"{measures.groups[split]:,}")
            for split, rows in manifest.splits.items()
        ),
    )
    key = " + ".join(recipe.group_by)
    lacking = [
        f"{code(split)} holds no {column} {_list(values)}"
        for split, columns in measures.lacking.items()
        for column, values in columns.items()
    ]
    notes = "".join(f"\n- {note}." for note in (*map(inline, manifest.notes), *lacking))
    return (
        f"## Splits\n\n{table}\n\nConversations of one {key} are one group (`split_group`), and no group is in two splits. Groups of "
        f"earlier versions stay where they were (`{GROUPS}`). New ones go first where they bring values that a split lacks, then by a hash "
        f"with seed {recipe.seed}: a share differs from what was asked for by up to half a group, or by more where no new group can make "
        f"up for it.{notes and chr(10) + notes}"
    )


def _coverage(manifest: Manifest, measures: Measures) -> str:
    parts = ["## Coverage"]
    for column, found in measures.coverage.items():
        counts = {**dict.fromkeys(manifest.lineage.axes.get(column, ()), 0), **found}
        even = manifest.rows / len(counts)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        rows = [(value, f"{count:,}", f"{count / manifest.rows:.1%}", f"{count / even:.2f}") for value, count in ranked]
        parts.append(_table((column, "conversations", "share", "of an even share"), _shorten(rows)))
    return "\n\n".join(parts)


def _lengths(measures: Measures) -> str:
    rows = [("n_turns", *measures.turns.figures), ("n_tokens", *measures.tokens.figures)]
    return (
        f"## Length\n\n{_table(('of a conversation', 'least', 'median', '95 %', '99 %', 'most'), rows)}\n\n"
        "`n_turns` leaves the system turn out. `n_tokens` is an estimate by characters and their scripts: a quarter for one of ASCII, 1.5 "
        "for a Chinese one, and 4 for each turn. `convoforge check` counts with your model's own tokenizer."
    )


def _scores(manifest: Manifest, measures: Measures) -> str:
    highest = max(measures.scores.values())
    ranked = sorted(measures.scores.items(), key=lambda item: (item[0] is None, item[0]))
    rows = (
        ("none" if score is None else str(score), f"{count:,}", "█" * max(1, round(30 * count / highest)))
        for score, count in ranked
    )
    judge = manifest.lineage.judge
    judged = (
        f"\n\n{inline(f'{judge[:1].upper()}{judge[1:]}.')} Its points are in `scorer_results`, as `judge.CRITERION`."
        if judge
        else ""
    )
    return f"## Score\n\n{_table(('score', 'conversations', ''), rows)}{judged}"


def _left_out(manifest: Manifest) -> str:
    if not (manifest.rejected or manifest.reasons):
        return ""
    counts = {
        "needs revision" if manifest.needs_revision == 1 else "need revision": manifest.needs_revision,
        "dropped": manifest.dropped - manifest.refused,
        "refused by the API": manifest.refused,
    }
    text = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    where = f"{text}; with their reasons in `{manifest.rejected.path}` of the data folder." if manifest.rejected else ""
    near, rule = manifest.lineage.counts.get("near_duplicates", 0), manifest.recipe.near_duplicates
    where += (
        f" {near:,} of them repeat another conversation nearly: alike to {rule.threshold:g} or more." if near and rule else ""
    )
    rows = [one.row for one in manifest.reasons]
    table = f"All runs of the dataset until now:\n\n{_table(HEADINGS, _shorten(rows))}" if rows else ""
    return "\n\n".join(filter(None, ["## Not in here", where, table]))


def _cost(manifest: Manifest, measures: Measures, facts: LedgerFacts) -> str:
    costs = split_costs(measures, facts)
    costs["all of it, for each accepted one"] = sum(costs.values(), start=Decimal(0)) / manifest.rows
    table = _table(("", "cost"), ((name, dollars(amount)) for name, amount in costs.items()))
    return (
        f"## Cost\n\n{table}\n\n{measures.input_tokens:,} input tokens (without cached ones) and {measures.output_tokens:,} output tokens "
        "for the accepted conversations. `convoforge costs` tells it by day, model and template."
    )


def _lineage(manifest: Manifest) -> str:
    lineage = manifest.lineage
    facts = [
        ("run", lineage.run_id),
        ("provider, model", f"{lineage.provider}, {lineage.model}"),
        ("convoforge", lineage.package_version),
        ("spec sha256", lineage.spec_sha256),
        ("data sha256", manifest.data_sha256),
        *((f"template {name}", sha256) for name, sha256 in lineage.templates.items()),
        *((name.replace("_", " "), f"{count:,}") for name, count in lineage.counts.items()),
    ]
    spec = fenced(printable(lineage.spec_text.rstrip()), "yaml", "~")
    return f"## Lineage\n\n{_table(('', ''), facts)}\n\nThe spec:\n\n{spec}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(map(table_row, (head, ("---",) * len(head), *rows)))


def _list(values: Sequence[str]) -> str:
    named = ", ".join(map(inline, values[:_LONGEST_LIST]))
    return f"{named} and {len(values) - _LONGEST_LIST:,} more" if len(values) > _LONGEST_LIST else named


def _shorten(rows: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    """Both ends of a table too long to read: what is rare matters as much as what is common."""
    if len(rows) <= _LONGEST_TABLE:
        return rows
    half = _LONGEST_TABLE // 2
    between = (f"… {len(rows) - 2 * half:,} more …", *[""] * (len(rows[0]) - 1))
    return [*rows[:half], between, *rows[-half:]]
