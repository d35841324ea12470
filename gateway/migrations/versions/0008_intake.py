"""Intake: how far each file was loaded, and the bank's own number of a consent."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

#: Eight bytes on both: an INTEGER of SQLite is as long as it must be.
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Consents that are there keep no number: none was given."""
    with op.batch_alter_table("consent") as consent:
        consent.add_column(sa.Column("code", sa.String(), nullable=True))
        consent.create_unique_constraint("uq_consent_code", ["code"])
    op.create_table(
        "intake_file",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("mapping_sha256", sa.String(), nullable=False),
        sa.Column("line", WHOLE, nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_intake_file"),
        sa.UniqueConstraint("kind", "sha256", "mapping_sha256", name="uq_intake_file_kind"),
    )


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")
