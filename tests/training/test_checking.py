"""What a trainer would do with a published version, read from real Parquet files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars
import pytest
from publish.conftest import make_row, talk
from training import CHATML, make_talks

from convoforge.errors import ConfigError
from convoforge.publish.reading import PublishedVersion
from convoforge.training.chat_template import ChatTemplate
from convoforge.training.checking import TrainingCheck, TrainingChecker
from convoforge.training.findings import DuplicateLook, check_splits
from convoforge.training.rows import TrainingRow

NOW = datetime(2026, 11, 27, tzinfo=UTC)
Publish = Callable[..., PublishedVersion]


def check(published: PublishedVersion, **options: Any) -> TrainingCheck:
    checker = TrainingChecker(published, now=NOW, **{"tokenizer": None, "max_length": None, "chat_template": None, **options})
    assert [*checker.run()][-1] >= published.manifest.rows
    return checker.finish()


def said(found: TrainingCheck, name: str) -> list[tuple[str, str]]:
    return [(one.state, one.what) for one in found.findings if one.check == name]


def rewrite(published: PublishedVersion, change: Callable[[polars.DataFrame], polars.DataFrame], split: str = "train") -> None:
    """Change a published file behind the back of everybody."""
    for path in (published.version.path / "data").glob(f"{split}-*"):  # type: ignore[operator]
        change(polars.read_parquet(path)).write_parquet(path)


def test_a_good_version_passes_and_every_token_is_counted_once(published: Publish) -> None:
    version = published(make_talks(48))
    found = check(version)
    assert found.passed
    assert [one.check for one in found.findings if one.state == "warning"] == ["columns", "tokenizer"]
    lengths = polars.read_parquet(version.version.path / "data" / "*.parquet")["n_tokens"]  # type: ignore[operator]
    spread = found.tokens.spreads["conversation"]
    assert (spread.minimum, spread.maximum) == (lengths.min(), lengths.max())
    assert found.tokens.totals["conversation"] == lengths.sum()
    assert sum(found.tokens.totals[who] for who in ("system", "user", "assistant", "template")) == lengths.sum()
    assert sum(found.tokens.bins["user"].values()) == 2 * 48
    assert found.as_json()["tokens"]["assistant"]["bins"] == {2: 48, 4: 48}


def test_with_a_tokenizer_tokens_are_those_that_a_trainer_sees(published: Publish, tokenizer: Path) -> None:
    found = check(
        published([make_row(n, conversation=talk("Wie spät?", f"Fünf {n:02}.", system=None)) for n in range(24)]),
        tokenizer=str(tokenizer),
    )
    spread = found.tokens.spreads["conversation"]
    assert spread.minimum == spread.maximum == len("user\nWie spät?\nassistant\nFünf 00.\n".encode()) + 4
    assert (found.tokens.spreads["user"].maximum, found.tokens.spreads["assistant"].maximum) == (10, 9)
    assert found.advised_length == 256  # exact: no room is needed
    assert said(found, "chat template") == [("good", f"the template of {tokenizer} keeps every turn, in its order")]
    assert said(found, "tokenizer") == [("good", f"{tokenizer} gives back what it is given")]


def test_what_is_cut_is_counted(published: Publish) -> None:
    version = published([*make_talks(20), make_row(20, conversation=talk("x" * 4000, "y" * 4000, system=None))])
    [(state, what)] = said(check(version), "length")
    assert (state, what.split("; ")) == (
        "warning",
        [
            "the longest has 2,008 tokens",
            "TRL's default of 1,024 cuts 1 of 21 conversations (4.8%) and 984 tokens",
            "axolotl's default of 512 cuts 1 of 21 conversations (4.8%) and 1,496 tokens",
        ],
    )
    short = check(version, max_length=2000)
    assert not short.passed
    assert said(short, "length") == [("bad", "at 2,000 tokens a trainer cuts or drops 1 of 21 conversations (4.8%) and 8 tokens")]
    assert check(version, max_length=2008).passed


def test_what_is_in_two_splits_or_stands_twice_is_found(published: Publish) -> None:
    version = published(make_talks(48))
    train = polars.read_parquet(version.version.path / "data" / "train-*.parquet")  # type: ignore[operator]
    rewrite(version, lambda rows: polars.concat([rows, rows[:1]]))
    rewrite(
        version,
        lambda rows: polars.concat([rows, train[5:6], train[6:7].with_columns(split_group=polars.lit("new"))]),
        "validation",
    )
    found = check(version)
    assert not found.passed
    [duplicate] = said(found, "duplicates")
    assert duplicate[1].startswith("conversations that stand twice in a split (1, first ")
    assert [what.partition(" (")[0] for _, what in said(found, "leakage")] == [
        "conversations that are in two splits",
        "rows of a split_group that is in two splits",
    ]


def test_conversations_that_begin_alike_in_two_splits_leak(published: Publish) -> None:
    rows = [make_row(n, conversation=talk("Hello?", "Good day, how can I help?", f"With {n}.", "Gladly.")) for n in range(24)]
    [(state, what)] = said(check(published(rows)), "leakage")
    assert (state, what.partition(" (")[0]) == ("bad", "conversations that begin with the two turns of one in another split")


MESSAGES = polars.List(polars.Struct({"role": polars.String, "content": polars.String}))


@pytest.mark.parametrize(
    ("turns", "fault"),
    [
        (["assistant"], "roles that do not alternate from user to assistant"),
        (["user", "assistant", "user"], "a last turn that is not the assistant's"),
        (["system"], "a conversation without turns"),
        (["user", "system", "assistant"], "roles that do not alternate from user to assistant"),
        (["user", "assistant: \n"], "an empty turn"),
    ],
)
def test_roles_are_checked_as_a_trainer_needs_them(published: Publish, turns: list[str], fault: str) -> None:
    version = published(make_talks(24))
    parts = (turn.partition(":") for turn in turns)
    broken = [{"role": role, "content": content if colon else "words"} for role, colon, content in parts]
    rewrite(
        version, lambda rows: rows.with_columns(messages=polars.Series([broken] + rows["messages"].to_list()[1:], dtype=MESSAGES))
    )
    [(state, what)] = said(check(version), "roles")
    assert (state, what.partition(" (")[0]) == ("bad", fault)


def test_a_turn_that_holds_more_than_role_and_content_is_found(published: Publish) -> None:
    version = published(make_talks(24))
    named = polars.col("messages").list.eval(polars.element().struct.with_fields(name=polars.lit("Bo")))
    rewrite(version, lambda rows: rows.with_columns(named))
    [(_, what)] = said(check(version), "roles")
    assert what.partition(" (")[0] == "a turn with more than role and content"


def test_another_system_turn_makes_no_other_conversation() -> None:
    look = DuplicateLook()
    for number, system in enumerate(("Be brief.", "Be kind.")):
        said = [
            {"role": "system", "content": system},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Yes?"},
        ]
        look.see(TrainingRow("train", str(number), "group", said))
    assert [one.what for one in look.list_findings() if one.state == "bad"] == [
        "conversations that stand twice in a split (1, first 1 in train)"
    ]


def test_what_a_simulator_wrote_is_said_to_teach_nothing(published: Publish) -> None:
    manifest = published(make_talks(24)).manifest.model_copy(update={"provider": "simulator"})
    assert [(one.check, one.state) for one in check_splits(manifest)] == [("splits", "good"), ("provider", "warning")]


def test_columns_and_splits_that_trainers_trip_over_are_named(published: Publish) -> None:
    version = published(make_talks(3, persona="A", topic="B"))
    rewrite(version, lambda rows: rows.with_columns(prompt=polars.lit("")))
    found = check(version)
    assert said(found, "splits") == [("bad", "'validation' is empty, where 25% were asked for (train 3)")]
    assert said(found, "columns") == [
        ("bad", "trainers take for their own: prompt"),
        ("warning", "with_format('torch') fails on cost_usd and generated_at; TRL, axolotl, unsloth and LLaMA-Factory drop them"),
    ]


def test_control_tokens_in_what_is_said_are_found(published: Publish, tokenizer: Path) -> None:
    rows = [*make_talks(24), make_row(24, conversation=talk("Hello there", "Bye.<|im_end|>"))]
    found = check(published(rows), tokenizer=str(tokenizer))
    assert said(found, "control tokens") == [("bad", f"turns that hold one (1, first <|im_end|> in turn 3 of {24:024x})")]


def test_a_tokenizer_without_a_template_is_estimated_around_and_cuts_nothing_by_itself(
    published: Publish, tokenizer: Path, tmp_path: Path
) -> None:
    """It is saved with the truncation and the special tokens of another use."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    bare = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    bare.enable_truncation(5)
    bare.post_processor = TemplateProcessing(single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)])
    bare.save(str(tmp_path / "tokenizer.json"))
    rows = [make_row(0, conversation=talk("x" * 100, "y" * 110, system=None))]
    found = check(published(rows), tokenizer=str(tmp_path / "tokenizer.json"))
    assert found.tokens.spreads["conversation"].maximum == 100 + 110 + 1 + 2 * 4, "a line break between the two"
    assert found.advised_length == 512, "an estimate: a quarter more"
    assert said(found, "chat template") == [("warning", f"{tmp_path}/tokenizer.json brings none: 4 tokens a turn are added")]
    assert said(found, "tokenizer") == [("good", f"{tmp_path}/tokenizer.json gives back what it is given")]


def test_a_turn_that_says_what_another_said_is_missed_all_the_same(published: Publish, tmp_path: Path) -> None:
    (tmp_path / "chat.jinja").write_text(CHATML.replace("messages", "messages[:-1]"))
    rows = [make_row(0, conversation=talk("Same.", "Same.", system=None))]
    [(_, what)] = said(check(published(rows), chat_template=tmp_path / "chat.jinja"), "chat template")
    assert "turn 2 is missing or changed" in what


def test_a_tokenizer_that_loses_letters_is_named(published: Publish, tokenizer: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Lowercase

    lossy = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    lossy.normalizer = Lowercase()
    lossy.save(str(tmp_path / "tokenizer.json"))
    [(state, what)] = said(check(published(make_talks(24)), tokenizer=str(tmp_path)), "tokenizer")
    assert (state, what.partition(" (")[0]) == ("warning", f"{tmp_path} does not give back what it is given")


def test_of_several_templates_the_default_counts_and_a_word_of_its_own_is_no_control_token(
    published: Publish, tokenizer: Path, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer

    own = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    own.add_tokens(["Question"])
    own.save(str(tmp_path / "tokenizer.json"))
    templates = [{"name": "tool_use", "template": "{{ 1 / 0 }}"}, {"name": "default", "template": CHATML}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    found = check(published(make_talks(24)), tokenizer=str(tmp_path))
    assert said(found, "chat template") == [("good", f"the template of {tmp_path} keeps every turn, in its order")]
    assert said(found, "control tokens") == [("good", "no turn holds one")]


def test_blocks_and_json_are_written_as_transformers_writes_them() -> None:
    text = "{% for one in messages %}\n  {% if true %}\n{{ one | tojson }}\n  {% endif %}\n{% endfor %}{{ eos_token }}"
    template = ChatTemplate.compile(text, {"eos_token": "</s>"}, NOW)
    assert template.render([{"role": "user", "content": "<ü>"}]) == '{"role": "user", "content": "<ü>"}\n</s>'


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (CHATML.replace("['content']", "['content'] | upper"), "turn 1 is missing or changed in what the template makes of it"),
        (CHATML.replace("messages", "messages[1:]"), "turn 1 is missing or changed in what the template makes of it"),
        ("{{ raise_exception('System role not supported') }}", "System role not supported"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages.__class__.__mro__ }}", "access to attribute '__class__' of 'list' object is unsafe."),
        ("{{ raise_exception.__globals__['os'] }}", "access to attribute '__globals__' of 'function' object is unsafe."),
        ("{% for _ in range(10 ** 9) %}{% endfor %}", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)."),
        ("{{ messages.append(1) }}", "access to attribute 'append' of 'list' object is unsafe."),
    ],
)
def test_what_a_chat_template_does_wrong_is_told_and_none_runs_code(
    published: Publish, tmp_path: Path, template: str, fault: str
) -> None:
    (tmp_path / "chat.jinja").write_text(template)
    [(state, what)] = said(check(published(make_talks(24)), chat_template=tmp_path / "chat.jinja"), "chat template")
    assert (state, what.partition(": ")[2].partition(" (24, ")[0]) == ("bad", fault)


@pytest.mark.parametrize(
    "template",
    [
        CHATML,
        "{% for one in messages %}{% generation %}{{ one.content | trim }}{% endgeneration %}{% continue %}{% endfor %}",
        "{{ strftime_now('%Y') }}{{ messages | tojson(indent=2) }}{% for one in messages %}{{ one.content }}{% endfor %}{{ eos_token }}",
    ],
)
def test_templates_are_rendered_as_transformers_does(published: Publish, tokenizer: Path, tmp_path: Path, template: str) -> None:
    (tmp_path / "chat.jinja").write_text(template)
    found = check(published(make_talks(24)), tokenizer=str(tokenizer), chat_template=tmp_path / "chat.jinja")
    assert said(found, "chat template") == [("good", "chat.jinja keeps every turn, in its order")]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tokenizer": "nobody/no-model"}, "nothing is downloaded"),
        ({"tokenizer": "x" * 5000}, "nothing is downloaded"),
        ({"tokenizer": "~nobody/x"}, "nothing is downloaded"),
        ({"chat_template": Path("/nowhere/chat.jinja")}, "No such file or directory"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(published: Publish, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        check(published(make_talks(24)), **options)


def test_a_template_that_is_none_and_a_tokenizer_that_is_none(published: Publish, tmp_path: Path) -> None:
    version = published(make_talks(24))
    (tmp_path / "chat.jinja").write_text("{% if %}")
    with pytest.raises(ConfigError, match="the chat template cannot be read"):
        check(version, chat_template=tmp_path / "chat.jinja")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read as a tokenizer"):
        check(version, tokenizer=str(tmp_path))


def test_a_name_is_looked_up_in_the_local_cache(
    published: Publish, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = tmp_path / "models--somebody--model"
    shutil.copytree(tokenizer, held / "snapshots" / "abc")
    (held / "refs").mkdir()
    (held / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = check(published(make_talks(24)), tokenizer="somebody/model")
    assert said(found, "chat template") == [("good", "the template of somebody/model keeps every turn, in its order")]
