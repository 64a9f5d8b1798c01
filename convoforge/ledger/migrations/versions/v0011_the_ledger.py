"""The schema of 1.0, from which later migrations start. It is never run: `connect` creates new ledgers from `tables.py`."""

revision = "0011"
down_revision = None
