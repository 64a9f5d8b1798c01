"""The ledger's fixtures."""

from ledger.conftest import dataset, ledger, owner

__all__ = ["dataset", "ledger", "owner"]
