"""Opening a ledger: made on first use, refused when it cannot be trusted."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from convoforge.errors import ConfigError, LedgerError
from convoforge.ledger import Ledger
from convoforge.ledger.migrations import known_versions
from convoforge.ledger.tables import HEAD

COLUMNS = {
    "answers": "attempt content_hash content_key conversation_id drawn fingerprint generated_at judge_key kind raw_text reason "
    "rejection request_id results rubric score system temperature "
    "temperature_applied template_version turns",
    "audit": "at id method object route status who",
    "batches": "api_batch_id api_ended_at api_key api_status created_at ended_at endpoint given_up_at id looked_at "
    "missing_since requests run_id state trouble",
    "budgets": "limit_pico maybe_pico reserved_pico scope spent_pico",
    "datasets": "created_at id min_score name provider pseudonym_key spec",
    "generation_logs": "answered_model api_key api_request_id attempt batch_id billing cache_read_tokens cache_write_1h_tokens "
    "cache_write_5m_tokens cost_pico dataset_id error error_kind finished_at http_status inference_geo input_tokens "
    "latency_ms maybe_pico model output_tokens owner price provider purpose request_id reserved_pico run_id service_tier "
    "speed started_at status stop_reason template thinking_tokens usage_known",
    "idempotency_keys": "created_at fingerprint key nonce owner response status",
    "near_pairs": "other_id request_id similarity",
    "models": "asked_at facts model provider",
    "owners": "host id lease_until pid run_id started",
    "permits": "at id input_tokens limit_name output_tokens requests",
    "plans": "cells created_at dataset_id grid id signature",
    "rate_limits": "name paused_until window_seconds",
    "request_batches": "cost_pico dataset_id failed finished_at id requests run_id skipped started_at successful total",
    "requests": "answer cell dataset_id draw draw_key emotion fingerprint id lines owner persona published purpose reason request state "
    "template tier topic",
    "reviews": "at attempt content_hash decision id note request_id reviewer turns undoes",
    "runs": "dataset_id endpoint finished_at flow_run_id id message model note owner plan_id report sources spec started_at state",
    "signatures": "attempt id request_id signature version",
    "versions": "dataset_id number path published_at reserved_at rows run_id sha256",
}


def test_the_columns_are_these(ledger: Ledger) -> None:
    inspector = inspect(ledger.engine)
    found = {name: " ".join(sorted(c["name"] for c in inspector.get_columns(name))) for name in inspector.get_table_names()}
    del found["alembic_version"]
    assert found == COLUMNS


def test_the_newest_migration_is_the_one_the_code_names() -> None:
    assert HEAD == max(known_versions())


def test_a_ledger_opens_again_with_what_it_held(database_url: str) -> None:
    with Ledger(database_url) as first:
        first.write(lambda connection: connection.execute(text("INSERT INTO budgets (scope) VALUES ('x')")) and None)
    with Ledger(database_url) as again:
        assert again.read(lambda connection: connection.execute(text("SELECT scope FROM budgets")).scalar_one()) == "x"


@pytest.mark.parametrize("url", ["mysql://h/db", "nonsense", "sqlite://", "sqlite:///:memory:", "oracle://x", ""])
def test_an_address_that_is_no_ledger_is_named(url: str) -> None:
    with pytest.raises(ConfigError, match="CONVOFORGE_DATABASE_URL"):
        Ledger(url)


def test_a_server_that_is_not_there_is_said_without_its_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(LedgerError, match="Is the server running") as caught:
        Ledger(f"postgresql://somebody:s3cret@127.0.0.1:{port}/books")
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("certainly not a database, and long enough to be read as one" * 100)
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger(f"sqlite:///{path}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(LedgerError, match="not writable"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(LedgerError, match=f"{tmp_path / 'data'}"):
        Ledger(f"sqlite:///{tmp_path / 'data' / 'ledger.db'}")
