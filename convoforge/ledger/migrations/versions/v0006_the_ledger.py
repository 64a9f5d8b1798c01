"""Where later migrations start: the schema of 1.0. Nothing runs it: `connect` makes a new ledger from `tables.py`."""

revision = "0006"
down_revision = None
