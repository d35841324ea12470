"""Intake: how many rows of a file were wrong, so that it is looked at again once they can be right."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

#: Eight bytes on both: an INTEGER of SQLite is as long as it must be.
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Of files that were loaded before nobody counted them: they stay done, as was said."""
    with op.batch_alter_table("intake_file") as intake_file:
        intake_file.add_column(sa.Column("wrong", WHOLE, nullable=True))
    op.execute("UPDATE intake_file SET wrong = 0")
    with op.batch_alter_table("intake_file") as intake_file:
        intake_file.alter_column("wrong", existing_type=WHOLE, nullable=False)


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")
