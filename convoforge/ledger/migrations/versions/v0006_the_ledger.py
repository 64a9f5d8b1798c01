"""The schema of the first release: where later migrations start. Nothing runs it: `connect` makes a new ledger from `tables.py`."""

revision = "0006"
down_revision = None
