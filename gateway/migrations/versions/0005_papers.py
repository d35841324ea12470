"""Papers name the day they were issued and every document that belongs to them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns; what is recorded already says neither."""
    op.add_column("paper", sa.Column("issued_on", sa.Date(), nullable=True))
    op.add_column("paper", sa.Column("documents", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")
