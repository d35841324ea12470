"""Former names of parties, and what a party merged into."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what keeps the history of names and mergers."""
    op.create_table(
        "former_name",
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("name_zh", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("evidence", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name="fk_former_name_party_id_party"),
        sa.PrimaryKeyConstraint("party_id", "until", name="pk_former_name"),
    )
    with op.batch_alter_table("party") as party:
        party.add_column(sa.Column("merged_into_id", sa.String(), nullable=True))
        party.add_column(sa.Column("merged_on", sa.Date(), nullable=True))
        party.create_foreign_key(
            "fk_party_merged_into_id_party", "party", ["merged_into_id"], ["id"]
        )


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")
