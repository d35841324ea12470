"""Intake: of when the rows of a file speak, so that a feed that stopped is seen."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of files that were loaded whole, the loading's begin: the latest that is certain of their rows."""
    with op.batch_alter_table("intake_file") as intake_file:
        intake_file.add_column(sa.Column("feed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_intake_file_kind_feed_at", "intake_file", ["kind", "feed_at"])
    op.execute("UPDATE intake_file SET feed_at = begun_at WHERE done_at IS NOT NULL")


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")
