"""What today's API says of a call."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what is new."""
    op.add_column("answers", sa.Column("template_system", sa.Boolean(), nullable=True))
