"""Datasets, versions, files and estimates over HTTP: nothing is sent, and no file from outside a version is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from publish.conftest import Dataset, make_rows
from recorded import Dataset as RecordedDataset
from viewing import SPEC, Pages

from convoforge.api import estimates
from convoforge.ledger import Ledger
from convoforge.publish import Layout
from convoforge.publish.manifest import Manifest
from convoforge.settings import ObjectFolder, Settings

VERSIONS = "/api/datasets/advice/versions"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with Pages.open(tmp_path_factory.mktemp("data")) as opened:
        dataset = Dataset(Layout(opened.settings.data_dir, "datasets", "advice"))
        for number in (8, 12):
            dataset.publish(make_rows(number))
        yield opened


def data(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()["data"]


def test_datasets_are_listed_with_spend_and_last_run(pages: Pages) -> None:
    (sheep,) = data(pages.get("/api/datasets"))
    assert (sheep["name"], sheep["provider"], sheep["model"]) == ("sheep", "simulator", SPEC.model)
    assert sheep["spent"] > 0 and sheep["lastRun"]["state"]
    assert data(pages.get("/api/datasets/sheep?simulated=true")) == sheep
    assert {pages.get(f"/api/datasets/{name}").status_code for name in ("sheep", "other")} == {404}


def test_versions_are_listed_with_their_files(pages: Pages) -> None:
    first, second = data(pages.get(VERSIONS))
    assert (first["version"], first["rows"], first["latest"]) == (1, 8, False)
    assert (second["version"], second["rows"], second["latest"]) == (2, 12, True)
    assert data(pages.get(f"{VERSIONS}/2")) == second
    assert {file["path"] for file in second["files"]} >= {"README.md", "report.html", "data/train-00000-of-00001.parquet"}
    for path in (
        f"{VERSIONS}/3",
        "/api/datasets/none/versions",
        "/api/datasets/..%2fadvice/versions",
        f"{VERSIONS}?simulated=true",
    ):
        assert pages.get(path).status_code == 404
    assert pages.get(f"{VERSIONS}/0").status_code == 400


def test_every_file_of_a_version_can_be_fetched(pages: Pages) -> None:
    for file in data(pages.get(f"{VERSIONS}/2"))["files"]:
        response = pages.get(f"{VERSIONS}/2/files/{file['path']}")
        assert hashlib.sha256(response.content).hexdigest() == file["sha256"]
        assert int(response.headers["content-length"]) == file["bytes"]
        assert response.headers["content-type"] == "application/octet-stream"
        assert response.headers["content-disposition"].startswith("attachment")
    assert Manifest.model_validate_json(pages.get(f"{VERSIONS}/2/files/manifest.json").content).version == 2


def test_no_other_file_is_read_whatever_a_manifest_says(pages: Pages) -> None:
    folder = Path(pages.settings.data_dir)
    (folder / "secret").write_text("secret")
    version = folder / "versions" / "datasets" / "advice" / "v0002"
    (version / "beside").write_text("secret")
    for path in ("beside", "..%2f..%2f..%2f..%2fsecret", "../../../../secret", "%2fetc%2fpasswd", "data", ""):
        assert pages.get(f"{VERSIONS}/2/files/{path}").status_code == 404, path
    manifest = json.loads((version / "manifest.json").read_text())
    outside = [{"path": path, "bytes": 6, "sha256": "0" * 64} for path in ("../../../../secret", str(folder / "secret"))]
    dataset = version.parent / "v0003"
    dataset.mkdir()
    (dataset / "manifest.json").write_text(json.dumps({**manifest, "version": 3, "files": outside}))
    assert data(pages.get(f"{VERSIONS}/3"))["files"] == outside
    for file in outside:
        assert pages.get(f"{VERSIONS}/3/files/{file['path']}").status_code == 404
    gone = manifest["files"][0]
    (dataset / "manifest.json").write_text(json.dumps({**manifest, "version": 3, "files": [gone]}))
    assert pages.get(f"{VERSIONS}/3/files/{gone['path']}").status_code == 404
    (dataset / "manifest.json").unlink()


def test_no_page_reads_another_file_either(pages: Pages) -> None:
    folder = Path(pages.settings.data_dir)
    secret = folder / "outside"
    secret.write_text("secret")
    Dataset(Layout(folder, "simulated", "sheep")).publish(make_rows(8))
    version = folder / "versions" / "simulated" / "sheep" / "v0001"
    inside, api = "/simulated/sheep/versions/1", "/api/datasets/sheep/versions/1/files"
    assert pages.get(f"{inside}/report.html").headers["content-type"].startswith("text/html")
    assert pages.get(f"{inside}/manifest.json").json()["version"] == 1
    manifest = json.loads((version / "manifest.json").read_text())
    outside = [{"path": path, "bytes": 6, "sha256": "0" * 64} for path in ("../../../../outside", str(secret))]
    (version / "manifest.json").write_text(json.dumps({**manifest, "files": [*manifest["files"], *outside]}))
    for path in (*(one["path"] for one in outside), "beside", "data", ""):
        name = path.replace("/", "%2f")
        assert pages.get(f"{inside}/{name}").status_code == 404, path
        assert pages.get(f"{api}/{name}?simulated=true").status_code == 404, path


def test_files_come_from_an_object_store_as_well(
    pages: Pages, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True).mkdir("downloads")
    store = ObjectFolder("s3://downloads/data")
    Dataset(Layout(store, "datasets", "advice")).publish(make_rows(8))
    monkeypatch.setattr(pages.app.state.viewer, "settings", pages.settings.model_copy(update={"data_dir": store}))
    (version,) = data(pages.get(VERSIONS))
    for file in version["files"]:
        response = pages.get(f"{VERSIONS}/1/files/{file['path']}")
        assert hashlib.sha256(response.content).hexdigest() == file["sha256"]
    assert pages.get(f"{VERSIONS}/1/files/none").status_code == 404


def test_what_is_read_is_simulated_where_the_server_is_unless_it_is_said(
    settings: Settings, serve: Callable[..., AbstractContextManager[httpx.Client]]
) -> None:
    with Ledger(settings.database_url) as ledger:
        RecordedDataset(ledger, "simulator").build(SPEC)
    Dataset(Layout(settings.data_dir, "simulated", "sheep")).publish(make_rows(8))
    Dataset(Layout(settings.data_dir, "datasets", "advice")).publish(make_rows(8))
    sheep, versions = "/api/datasets/sheep", "/api/datasets/sheep/versions"
    with serve() as client:
        for path in (sheep, versions, f"{versions}/1", f"{versions}/1/files/README.md", f"{sheep}/reviews"):
            asked = [client.get(path, params=query).status_code for query in ({}, {"simulated": True}, {"simulated": False})]
            assert asked == [200, 200, 404], path
        found = [
            client.get("/api/conversations", params={"dataset": "sheep", **query}).status_code
            for query in ({}, {"simulated": True}, {"simulated": False})
        ]
        assert found == [200, 200, 404]
        assert [client.get(VERSIONS, params=query).status_code for query in ({}, {"simulated": False})] == [404, 200]
        described = client.get("/openapi.json").json()["paths"]
    told = [
        one["description"]
        for path, methods in described.items()
        for one in methods.get("get", {}).get("parameters", ())
        if one["name"] == "simulated"
    ]
    assert len(told) == 7 and all("as the server" in one for one in told)


# --- conversations ---


def test_conversations_are_searched_filtered_and_paged(pages: Pages) -> None:
    def found(**query: Any) -> Any:
        return data(pages.get("/api/conversations", params={"dataset": "sheep", "simulated": True, **query}))

    everything = found()
    assert (everything["total"], everything["pages"], len(everything["conversations"])) == (16, 1, 16)
    one = everything["conversations"][0]
    assert one["score"] == 9 and one["costUsd"] == 0.01 and found(status=one["status"])["total"] >= 1
    assert found(persona="A baker", emotion="cross")["total"] == 4
    assert found(minScore=10)["total"] == 0
    assert found(q=one["conversationId"])["conversations"] == [one]
    second = found(rows=3, page=2, order="oldest")
    assert (second["page"], second["pages"], len(second["conversations"])) == (2, 6, 3)
    assert found(minCost=0.02)["total"] == 0
    for query, status in (
        ({"dataset": "other"}, 404),
        ({}, 400),
        ({"dataset": "sheep", "order": "random"}, 400),
        ({"dataset": "sheep", "x": 1}, 400),
    ):
        response = pages.get("/api/conversations", params=query)
        assert response.status_code == status
    wrong = pages.get("/api/conversations", params={"dataset": "sheep", "minscore": 1}).json()["error"]["message"]
    assert wrong.startswith("minscore: unknown field; did you mean 'minScore'?")


# --- estimates ---


def estimate(pages: Pages, **body: Any) -> httpx.Response:
    return pages.post("/api/estimate", json=body)


def test_a_build_is_estimated_by_name_or_by_spec_and_nothing_is_written(pages: Pages) -> None:
    ledger = Path(pages.settings.data_dir) / "ledger.db"
    rows = pages.app.state.viewer.ledger.read(lambda connection: connection.exec_driver_sql("PRAGMA data_version").scalar_one())
    demo = estimate(pages, config="demo", limit=5).json()
    assert (demo["dataset"], demo["provider"], demo["to_generate"]) == ("demo", "anthropic", 5)
    assert float(demo["estimated_cost_usd"]) > 0
    sheep = SPEC.model_dump(mode="json")
    held = estimate(pages, spec=sheep, simulate=True).json()
    assert (held["planned"], held["accepted"] > 0) == (16, True)
    more = estimate(pages, spec={**sheep, "per_cell": 10}, simulate=True).json()
    assert more["planned"] == 80 and more["to_generate"] > held["to_generate"]
    assert ledger.exists()
    same = pages.app.state.viewer.ledger.read(lambda connection: connection.exec_driver_sql("PRAGMA data_version").scalar_one())
    assert rows == same


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "give either config"),
        ({"config": "demo", "spec": {}}, "give either config"),
        ({"config": "dmo"}, "unknown dataset 'dmo'; did you mean 'demo'?"),
        ({"config": "/etc/passwd"}, "neither a dataset's name"),
        ({"config": "../datasets/demo.yaml"}, "without .yaml"),
        ({"configg": "demo"}, "did you mean 'config'?"),
        ({"spec": {"name": "x"}}, "'model' is missing"),
        ({"spec": {"quality": {"scorers": ["os:system"]}}}, "is a function"),
        ({"spec": {"quality": {"filters": ["os:system"]}}}, "is a function"),
        ({"spec": {"quality": {"evaluation": ["/dev/zero"]}}}, "may name files of this server"),
        (
            {"spec": {"per_cell": 10_000, "axes": {"persona": list("abcdef"), "emotion": ["e"], "topic": ["t", "u"]}}},
            "120,000 conversations",
        ),
        ({"spec": {"templates": ["../../secret"]}}, "cannot be a name here"),
    ],
)
def test_what_cannot_be_estimated_is_said(pages: Pages, body: dict[str, Any], said: str) -> None:
    if body.get("spec") and body["spec"] != {"name": "x"}:
        body = {"spec": SPEC.model_dump(mode="json") | body["spec"]}
    response = estimate(pages, **body)
    assert response.status_code == 400
    assert said in response.json()["error"]["message"]


def test_a_hostile_spec_is_refused_at_once(pages: Pages) -> None:
    for content in (
        b'{"spec":' * 100_000,
        b'{"spec": ' + b"[" * 400_000,
        json.dumps({"spec": {f"k{n}": 1 for n in range(20_000)}}).encode(),
    ):
        response = pages.post("/api/estimate", content=content, headers={"content-type": "application/json"})
        assert response.status_code == 400
        assert len(response.content) < 10_000
    assert estimates.MAX_PLANNED == 100_000
