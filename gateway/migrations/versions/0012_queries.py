"""Dry runs: what each organisation counted, so that two counts cannot be taken one from the other."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

#: Eight bytes on both: an INTEGER of SQLite is as long as it must be.
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Of what was counted before nobody kept what was asked: nothing is held against it."""
    op.add_column("decision", sa.Column("earlier", sa.Boolean(), nullable=True))
    op.create_table(
        "count_query",
        sa.Column("n", WHOLE, nullable=False),
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("kinds", sa.String(), nullable=False),
        sa.Column("people", WHOLE, nullable=False),
        sa.Column("cohort", sa.String(), nullable=True),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["decision_id"], ["decision.id"]),
        sa.PrimaryKeyConstraint("n"),
    )
    op.create_index("ix_count_query_party", "count_query", ["party_id", "asked_at"])
    op.create_index("ix_count_query_key", "count_query", ["key_id", "project_id", "asked_at"])


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")
