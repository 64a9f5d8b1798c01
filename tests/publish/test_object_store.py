"""A dataset in an object store: a real S3 server on loopback, and what is left there whatever happens."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support import S3_KEY, S3_SECRET, Project

from convoforge.errors import ConfigError, ConvoforgeError, LedgerError
from convoforge.models import Status
from convoforge.publish import Layout, PublishedRow, check_store, versions_in
from convoforge.publish.objects import ObjectVersions
from convoforge.publish.reading import find_published
from convoforge.settings import ROOT, ObjectFolder, Settings
from convoforge.simulator.client import SimulatorControl

Rows = Callable[..., list[PublishedRow]]

_buckets = count(1)


class Bucket:
    """A bucket of a test's own, seen past the code under test."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.name = f"bucket-{next(_buckets)}"
        self.s3.mkdir(self.name)
        self.url = f"s3://{self.name}/training data"
        self.layout = Layout(ObjectFolder(self.url), "datasets", "advice")

    def at(self, path: str) -> str:
        """The address of a file of a version, `v0001/…`, or of `LATEST`."""
        return f"{self.url}/{self.layout.folder if path == 'LATEST' else self.layout.versions}/{path}"

    def read(self, path: str) -> bytes:
        data: bytes = self.s3.cat_file(self.at(path))
        return data

    def write(self, path: str, data: bytes) -> None:
        self.s3.pipe_file(self.at(path), data)

    @property
    def files(self) -> list[str]:
        """`LATEST`, and the files of versions."""
        roots = (f"{self.url}/{folder}".removeprefix("s3://") for folder in (self.layout.folder, self.layout.versions))
        return [path.removeprefix(f"{root}/") for root in roots for path in self.s3.find(root)]

    @property
    def latest(self) -> str:
        return self.read("LATEST").decode()


@pytest.fixture
def bucket(s3_environment: dict[str, str]) -> Bucket:
    import s3fs

    return Bucket(s3fs.S3FileSystem(use_listings_cache=False))


@pytest.fixture
def stored(dataset: Any, bucket: Bucket) -> Any:
    """As `dataset`, in the bucket."""
    return type(dataset)(bucket.layout)


@pytest.fixture
def load_online(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`load_dataset` when it may use the network, which here is loopback."""
    import datasets  # type: ignore[import-untyped]

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    return load


def good(stored: Any) -> list[str]:
    return [version.path.name for version in versions_in(stored.layout).good()]


# A version, and how it is read


def test_a_version_in_a_bucket_is_what_it_is_on_a_disk(dataset: Any, stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    revise = make_rows(2, status=Status.DROPPED, reasons=("too short",))
    here, there = (held.publish(make_rows(48), revise, fingerprint="same") for held in (dataset, stored))
    assert str(there.path) == f"{bucket.url}/versions/datasets/advice/v0001"
    assert (there.version, there.rows, there.splits, there.sha256) == (here.version, here.rows, here.splits, here.sha256)
    local = {path.relative_to(here.path).as_posix(): path.read_bytes() for path in here.path.rglob("*") if path.is_file()}
    assert bucket.files == sorted(["LATEST", *(f"v0001/{name}" for name in local)])
    assert {name for name, data in local.items() if bucket.read(f"v0001/{name}") != data} == {"README.md", "manifest.json"}
    assert bucket.latest == "v0001\n"


def test_a_version_in_a_bucket_is_read_again(stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    stored.publish(make_rows(24))
    stored.publish(make_rows(48))
    for number, rows in ((None, 48), (1, 24)):
        found = find_published(bucket.layout.data, "advice", simulated=False, number=number)
        read = [batch.num_rows for split in found.manifest.splits for batch in found.read_batches(split, ["messages"])]
        assert sum(read) == rows
    assert "messages" in found.read_schema().names
    with pytest.raises(ConfigError, match="no version of 'other' is published in s3://"):
        find_published(bucket.layout.data, "other", simulated=False)
    train = next(file.path for file in found.manifest.files if "train-" in file.path)
    bucket.write(
        f"v0001/{train}", b"PAR0" * (len(bucket.read(f"v0001/{train}")) // 4) + b"x" * (len(bucket.read(f"v0001/{train}")) % 4)
    )
    with pytest.raises(ConvoforgeError, match="cannot be read"):
        [*found.read_batches("train")]


def test_the_manifest_is_the_last_file_of_a_version_and_latest_comes_after_it(
    stored: Any, make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    written: list[str] = []
    call = s3fs.S3FileSystem._call_s3

    async def watched(store: Any, method: str, *arguments: Any, **options: Any) -> Any:
        if method == "put_object":
            written.append(options["Key"].rpartition("advice/")[2])
        return await call(store, method, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", watched)
    stored.publish(make_rows(48), make_rows(1, status=Status.DROPPED))
    assert len(written) == 9
    assert written[0] == "v0001/README.md"
    assert written[-2:] == ["v0001/manifest.json", "LATEST"]


def test_groups_stay_in_their_splits_from_version_to_version(stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    stored.publish(make_rows(5), fractions={"train": 0.5, "validation": 0.5})
    stored.publish(make_rows(48), fractions={"train": 0.5, "validation": 0.5})
    first, second = (json.loads(bucket.read(f"v000{number}/groups.json")) for number in (1, 2))
    assert len(first["train"] + first["validation"]) == 5
    assert len(second["train"] + second["validation"]) == 12
    assert all(set(first[split]) < set(second[split]) for split in first)


def test_the_two_lines_of_python_on_the_card_work_for_every_version_with_one_cache(
    stored: Any, bucket: Bucket, make_rows: Rows, load_online: Callable[..., Any]
) -> None:
    for rows, marked in ((24, "first"), (36, "second")):
        published = stored.publish(make_rows(rows, emotion=marked))
        code = re.search(r"```python\n(.+?)\n```", bucket.read(f"{published.path.name}/README.md").decode(), re.DOTALL)
        assert code is not None
        names: dict[str, Any] = {}
        exec(code[1], names)
        assert names["train"].num_rows == published.splits["train"]
        assert set(names["train"]["emotion"]) == {marked}
        assert set(names["train"][0]["messages"][0]) == {"role", "content"}


def test_polars_and_pyarrow_read_a_version_by_its_address(stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    import polars as pl
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    rows = make_rows(48)
    published = stored.publish(rows)
    assert sorted(pl.read_parquet(f"{published.path}/data/*.parquet")["conversation_id"]) == [row.conversation_id for row in rows]
    table = pq.read_table(f"{published.path}/data".removeprefix("s3://"), filesystem=bucket.s3)
    assert sorted(table["conversation_id"].to_pylist()) == [row.conversation_id for row in rows]


def test_globs_read_what_was_accepted_once_or_nothing(stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    import polars as pl

    for rows in (24, 36):
        stored.publish(make_rows(rows), make_rows(60, status=Status.DROPPED)[rows:])
    version = f"{bucket.url}/versions/datasets/advice/{bucket.latest.strip()}"
    for pattern in ("**/*.parquet", "*/*.parquet", "data/*.parquet"):
        assert sorted(pl.read_parquet(f"{version}/{pattern}")["conversation_id"]) == [
            row.conversation_id for row in make_rows(36)
        ]
    assert bucket.s3.glob(f"{bucket.url}/datasets/advice/**/*.parquet") == []
    assert set(pl.read_parquet(f"{bucket.url}/rejected/datasets/advice/v0002.parquet")["status"]) == {"dropped"}


def test_versions_of_an_older_release_count_in_a_bucket_too(stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    stored.publish(make_rows(24))
    old, new = (f"{bucket.url}/{folder}/v0001" for folder in (bucket.layout.folder, bucket.layout.versions))
    for name in (path.removeprefix(new.removeprefix("s3://")).lstrip("/") for path in bucket.s3.find(new)):
        bucket.s3.pipe_file(f"{old}/{name}", bucket.s3.cat_file(f"{new}/{name}"))
        bucket.s3.rm_file(f"{new}/{name}")
    again = stored.publish(make_rows(23))
    assert (again.version, again.latest, bucket.latest) == (2, 1, "v0001\n")
    assert "1 versions of an earlier release lie beside latest" in again.notes[-1]
    assert [str(version.path) for version in versions_in(stored.layout).good()] == [old, str(again.path)]


def test_nothing_is_left_on_the_disk(stored: Any, make_rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stored.publish(make_rows(24))
    assert [*tmp_path.iterdir()] == []


# Which version is the latest


def test_unchanged_content_publishes_nothing(stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    first = stored.publish(make_rows(24), fingerprint="same")
    before = bucket.files

    def unread() -> Iterator[PublishedRow]:
        raise AssertionError("rows are not read again")

    again = stored.publish((), accepted=unread, fingerprint="same")
    assert (again.unchanged, again.version, again.path, again.sha256) == (True, first.version, first.path, first.sha256)
    assert bucket.files == before


@pytest.mark.parametrize("broken", ["missing", "dangling", "behind", "garbage"])
def test_an_unchanged_publish_puts_latest_right(stored: Any, bucket: Bucket, make_rows: Rows, broken: str) -> None:
    stored.publish(make_rows(12))
    newest = stored.publish(make_rows(24), fingerprint="same")
    if broken == "missing":
        bucket.s3.rm_file(bucket.at("LATEST"))
    else:
        bucket.write("LATEST", {"dangling": b"v0009\n", "behind": b"v0001\n", "garbage": b"\xff\x00"}[broken])
    again = stored.publish(make_rows(24), fingerprint="same")
    assert (again.unchanged, again.path) == (True, newest.path)
    assert bucket.latest == "v0002\n"


def test_latest_moves_to_fewer_rows_only_when_that_is_allowed(stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    stored.publish(make_rows(24))
    fewer = stored.publish(make_rows(12), fingerprint="fewer")
    assert bucket.latest == "v0001\n"
    assert "latest stays at v0001 (24 rows), because v0002 has only 12" in fewer.notes[-1]
    assert stored.publish(make_rows(12), fingerprint="fewer", allow_fewer=True).unchanged
    assert bucket.latest == "v0002\n"
    stored.publish(make_rows(6), allow_fewer=True)
    assert bucket.latest == "v0003\n"


@pytest.mark.parametrize("damage", ["no data", "short data", "no manifest", "half a manifest"])
def test_a_damaged_version_is_not_good_and_the_content_is_published_anew(
    stored: Any, bucket: Bucket, make_rows: Rows, damage: str
) -> None:
    stored.publish(make_rows(24), fingerprint="same")
    data = next(name for name in bucket.files if name.startswith("v0001/data/"))
    match damage:
        case "no data":
            bucket.s3.rm_file(bucket.at(data))
        case "short data":
            bucket.write(data, bucket.read(data)[:-1])
        case "no manifest":
            bucket.s3.rm_file(bucket.at("v0001/manifest.json"))
        case "half a manifest":
            bucket.write("v0001/manifest.json", b"{")
    again = stored.publish(make_rows(24), fingerprint="same")
    assert (again.unchanged, again.version) == (False, 2)
    assert bucket.latest == "v0002\n"


# Killed, failed, or two at once


@pytest.mark.parametrize("moment", ["while its data is uploaded", "before its manifest is uploaded"])
def test_a_publisher_killed_while_it_uploads_leaves_no_version_and_its_number_is_not_used_again(
    stored: Any, bucket: Bucket, make_rows: Rows, moment: str
) -> None:
    kill_at(bucket, moment)
    left = bucket.files
    assert "v0001/README.md" in left
    assert "v0001/manifest.json" not in left
    assert "LATEST" not in left
    assert good(stored) == []
    published = stored.publish(make_rows(24), fingerprint="same")  # its numbers begin at 1, as in a new ledger
    assert (published.unchanged, published.version) == (False, 2)
    assert good(stored) == ["v0002"]
    assert bucket.latest == "v0002\n"
    assert [name for name in bucket.files if name.startswith("v0001/")] == left, "what is not known to be dead is not touched"


def test_a_publisher_killed_before_latest_is_written_leaves_a_whole_version(stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    kill_at(bucket, "before LATEST is written")
    assert good(stored) == ["v0001"]
    assert "LATEST" not in bucket.files
    again = stored.publish(make_rows(24), fingerprint="same")
    assert (again.unchanged, again.version) == (True, 1)
    assert bucket.latest == "v0001\n"


def test_an_upload_that_fails_half_way_leaves_no_version(
    stored: Any, bucket: Bucket, make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    stored.publish(make_rows(12))
    put_file = s3fs.S3FileSystem._put_file

    async def failing(store: Any, here: str, there: str, **options: Any) -> None:
        if "/data/validation" in there:
            raise OSError(5, "the line is dead")
        await put_file(store, here, there, **options)

    with monkeypatch.context() as patch:
        patch.setattr(s3fs.S3FileSystem, "_put_file", failing)
        with pytest.raises(
            ConvoforgeError, match=r"datasets/advice cannot be written: OSError: .*the line is dead\. Is the store"
        ):
            stored.publish(make_rows(24), fingerprint="same")
    assert good(stored) == ["v0001"]
    assert bucket.latest == "v0001\n"
    assert stored.publish(make_rows(24), fingerprint="same").version == 3
    assert bucket.latest == "v0003\n"


def test_many_publishers_at_once_make_a_version_each_and_latest_is_the_newest(
    stored: Any, bucket: Bucket, make_rows: Rows
) -> None:
    with ThreadPoolExecutor(4) as pool:
        published = [*pool.map(lambda _: stored.publish(make_rows(24)), range(4))]
    assert sorted(each.version for each in published) == [1, 2, 3, 4]
    assert good(stored) == ["v0001", "v0002", "v0003", "v0004"]
    assert bucket.latest == "v0004\n"


def test_a_slow_publisher_does_not_lead_latest_back_to_its_older_version(
    stored: Any, bucket: Bucket, make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = ObjectVersions._note_latest

    def slow(versions: ObjectVersions, name: str) -> None:
        monkeypatch.setattr(ObjectVersions, "_note_latest", note)
        stored.publish(make_rows(36))
        assert bucket.latest == "v0002\n"
        note(versions, name)
        assert bucket.latest == "v0001\n"

    monkeypatch.setattr(ObjectVersions, "_note_latest", slow)
    assert stored.publish(make_rows(24)).version == 1
    assert bucket.latest == "v0002\n"


def test_what_is_allowed_for_one_version_is_not_allowed_for_a_newer_one(
    stored: Any, bucket: Bucket, make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.publish(make_rows(24))
    stored.publish(make_rows(18), fingerprint="fewer")
    move_latest = ObjectVersions.move_latest

    def overtaken(versions: ObjectVersions, number: int, **options: bool) -> str | None:
        monkeypatch.setattr(ObjectVersions, "move_latest", move_latest)
        stored.publish(make_rows(6))
        return move_latest(versions, number, **options)

    monkeypatch.setattr(ObjectVersions, "move_latest", overtaken)
    stored.publish(make_rows(18), fingerprint="fewer", allow_fewer=True)
    assert bucket.latest == "v0002\n"


def test_two_ledgers_that_give_the_same_number_do_not_write_into_one_version(
    stored: Any, bucket: Bucket, make_rows: Rows
) -> None:
    def reserve() -> int:
        bucket.write("v0001/README.md", b"the other's")
        return 1

    with pytest.raises(LedgerError, match=r"advice/v0001 is being written by a publisher with another ledger"):
        stored.publish(make_rows(24), reserve=reserve)
    assert bucket.files == ["v0001/README.md"]


# What cannot work, in one line


def said(stored: Any, rows: list[PublishedRow]) -> str:
    """What a publisher is told; a look before anything is paid says the same."""
    with pytest.raises(ConvoforgeError) as before:
        check_store(stored.layout)
    with pytest.raises(ConvoforgeError) as told:
        stored.publish(rows)
    message = str(told.value)
    assert str(before.value) == message
    assert "\n" not in message
    assert S3_SECRET not in message
    assert S3_KEY not in message
    assert told.value.__cause__ is None, "what a library keeps may hold a secret"
    return message


def test_a_bucket_that_is_missing(stored: Any, make_rows: Rows) -> None:
    stored.layout = replace(stored.layout, data=ObjectFolder("s3://no-such-bucket"))
    message = said(stored, make_rows(3))
    assert message.startswith(
        "the data folder s3://no-such-bucket/datasets/advice cannot be read: FileNotFoundError: The specified"
    )
    assert message.endswith("Make the bucket, or change CONVOFORGE_DATA_DIR")


def test_credentials_that_are_wrong(stored: Any, make_rows: Rows, s3_server: str) -> None:
    def demand(credentials: bytes) -> None:
        request = urllib.request.Request(f"{s3_server}/moto-api/reset-auth", credentials, {"content-type": "text/plain"})
        urllib.request.urlopen(request, timeout=10).close()

    demand(b"0")
    try:
        message = said(stored, make_rows(3))
    finally:
        demand(b"inf")
    assert "cannot be read: PermissionError: The AWS Access Key Id you provided does not exist" in message
    assert "Are the credentials right" in message


def test_no_credentials_at_all(stored: Any, make_rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    message = said(stored, make_rows(3))
    assert "cannot be read: NoCredentialsError: Unable to locate credentials. Are the credentials right" in message


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("http://127.0.0.1:1", "EndpointConnectionError: Could not connect to the endpoint URL"),
        (f"http://{S3_KEY}:{S3_SECRET}@127.0.0.1:1", "HTTPClientError: "),
    ],
)
def test_a_store_that_is_not_there(
    stored: Any, make_rows: Rows, monkeypatch: pytest.MonkeyPatch, address: str, error: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    message = said(stored, make_rows(3))
    assert f"cannot be read: {error}" in message
    assert message.endswith("Is the store reachable from here, and are AWS_ENDPOINT_URL and AWS_DEFAULT_REGION right?")


def test_what_a_library_says_is_told_without_the_secrets_in_its_addresses(
    stored: Any, make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    async def failing(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"no answer\nfrom http://{S3_KEY}:{S3_SECRET}@store/bucket?signature={S3_SECRET} today.")

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", failing)
    assert "cannot be read: RuntimeError: no answer from http://store/bucket today. Is the store" in said(stored, make_rows(3))


def test_a_store_whose_package_is_missing(stored: Any, make_rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.registry import _registry  # type: ignore[import-untyped]

    monkeypatch.delitem(_registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    message = said(stored, make_rows(3))
    assert "Install s3fs to access S3" in message
    assert message.endswith("For s3:// it takes: pip install 'convoforge[s3]'")


def test_a_store_that_nobody_knows(stored: Any, make_rows: Rows) -> None:
    stored.layout = replace(stored.layout, data=ObjectFolder("s4://bucket"))
    assert "the data folder s4://bucket/datasets/advice cannot be opened: ValueError: Protocol not known: s4" in said(
        stored, make_rows(3)
    )


def test_credentials_are_in_no_file(stored: Any, bucket: Bucket, make_rows: Rows) -> None:
    stored.publish(make_rows(24))
    text = b"".join(bucket.read(name) for name in bucket.files)
    assert S3_SECRET.encode() not in text
    assert S3_KEY.encode() not in text


# The setting


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/srv/data", Path("/srv/data")),
        ("data", ROOT / "data"),  # relative to the project
        ("file:///srv/my%20data", Path("/srv/my data")),
        ("s3://bucket", ObjectFolder("s3://bucket")),
        ("s3://bucket/a//b/", ObjectFolder("s3://bucket/a/b")),
        ("S3://Bucket/Prefix", ObjectFolder("s3://Bucket/Prefix")),
    ],
)
def test_the_data_folder_is_a_path_or_an_address(monkeypatch: pytest.MonkeyPatch, written: str, meant: object) -> None:
    monkeypatch.setenv("CONVOFORGE_DATA_DIR", written)
    assert Settings().data_dir == meant
    assert Settings(data_dir=meant).data_dir == meant


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (f"s3://{S3_KEY}:{S3_SECRET}@bucket/x", "s3://… must hold no '@'"),
        (f"s3://bucket/x?secret={S3_SECRET}", "s3://… must hold no '@', '[?]'"),
        ("s3:///x", "s3:///x names no bucket: write s3://BUCKET/PREFIX"),
        ("file://data", "file://data is no folder: write file:///PATH"),
    ],
)
def test_an_address_that_cannot_work_is_refused_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, written: str, message: str
) -> None:
    monkeypatch.setenv("CONVOFORGE_DATA_DIR", written)
    with pytest.raises(ConfigError, match=message) as told:
        Settings()
    assert S3_SECRET not in str(told.value)


def test_with_a_data_folder_in_a_store_the_ledger_needs_an_address_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOFORGE_DATA_DIR", "s3://bucket/x")
    with pytest.raises(ConfigError, match="CONVOFORGE_DATA_DIR=s3://bucket/x, set CONVOFORGE_DATABASE_URL"):
        _ = Settings().database_url
    assert Settings(database="sqlite:////srv/ledger.db").database_url == "sqlite:////srv/ledger.db"
    monkeypatch.delenv("CONVOFORGE_DATA_DIR")
    assert Settings().database_url == f"sqlite:///{ROOT}/data/ledger.db"


# From the command line


@pytest.mark.long
def test_a_build_and_a_publish_from_the_command_line_end_in_the_bucket(
    project: Project, simulator: SimulatorControl, prefect_server: str, bucket: Bucket
) -> None:
    ledger = f"sqlite:///{project.folder / 'ledger.db'}"
    project.environment |= {
        "PREFECT_API_URL": prefect_server,
        "ANTHROPIC_BASE_URL": simulator.url,
        "CONVOFORGE_DATA_DIR": bucket.url,
        "CONVOFORGE_DATABASE_URL": ledger,
    }
    project.spec("advice")
    bucket.layout = replace(bucket.layout, kind="simulated")
    done = project.run("build", "advice", "--simulate")
    assert done.code == 0, done.err
    version = f"{bucket.url}/versions/simulated/advice/v0001"
    assert f'load_dataset("parquet", data_files={{"train": "{version}/data/train-*.parquet"}}, split="train")' in done.out
    again = project.run("build", "advice", "--simulate", "--json").last
    assert (again["path"], again["generated"], again["published"], again["accepted"]) == (version, 0, False, 8)
    assert json.loads(bucket.read("v0001/manifest.json"))["rows"] == 8
    assert bucket.latest == "v0001\n"
    published = project.run("publish", "advice", "--simulated", "--json").last
    assert (published["path"], published["unchanged"]) == (version, True)
    assert S3_SECRET not in done.out + done.err
    assert S3_SECRET.encode() not in b"".join(path.read_bytes() for path in project.folder.glob("ledger.db*"))
    assert not project.data.exists()
    billed = simulator.usage()
    failed = project.run("build", "advice", "--simulate", "--refresh", CONVOFORGE_DATA_DIR="s3://no-such-bucket/x")
    assert failed.code == 1
    assert "the data folder s3://no-such-bucket/x/simulated/advice cannot be read" in failed.err
    assert simulator.usage() == billed, "a store that is not there is told before anything is asked"
    assert project.run("plan", "advice", "--simulate", CONVOFORGE_DATABASE_URL="").code == 2


def kill_at(bucket: Bucket, moment: str) -> None:
    script = Path(__file__).with_name("interrupted_publisher.py")
    with subprocess.Popen([sys.executable, script, bucket.url, moment], stdout=subprocess.PIPE, text=True) as publisher:
        assert publisher.stdout is not None
        try:
            assert publisher.stdout.readline() == "here\n"
        finally:
            publisher.kill()
