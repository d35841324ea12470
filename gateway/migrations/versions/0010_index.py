"""Cohort index: of whom a row last changed under which version of the facts."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

#: Eight bytes on both: an INTEGER of SQLite is as long as it must be.
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Nothing is noted until there is an index to read it."""
    with op.batch_alter_table("bank") as bank:
        bank.add_column(sa.Column("noted_since", WHOLE, nullable=True))
    op.create_table(
        "donor_change",
        sa.Column("donor_id", sa.String(), primary_key=True),
        sa.Column("version", WHOLE, nullable=False),
    )
    op.create_index("ix_donor_change_version", "donor_change", ["version"])


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")
