"""Draws on quotas become postings of a double-entry ledger, which tubes and grants join."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: Eight bytes on both: an INTEGER of SQLite is as long as it must be.
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """What was drawn is reserved until `hgr ledger settle` books what has gone out or ended since.

    No quota is opened by it: nobody said yet what was drawn before it was kept here.
    """
    op.create_table(
        "posting",
        sa.Column("n", WHOLE, nullable=False),
        sa.Column("quota_id", sa.String(), nullable=True),
        sa.Column("holding_id", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("amount", WHOLE, nullable=False),
        sa.Column("grant_id", sa.String(), nullable=True),
        sa.Column("cause_id", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(quota_id IS NULL) <> (holding_id IS NULL)", name="ck_posting_one_subject"
        ),
        sa.CheckConstraint("amount > 0 AND source <> target", name="ck_posting_moves"),
        sa.ForeignKeyConstraint(["quota_id"], ["quota.id"], name="fk_posting_quota_id_quota"),
        sa.ForeignKeyConstraint(
            ["holding_id"], ["holding.id"], name="fk_posting_holding_id_holding"
        ),
        sa.PrimaryKeyConstraint("n", name="pk_posting"),
    )
    for column in ("quota_id", "holding_id", "grant_id"):
        op.create_index(f"ix_posting_{column}", "posting", [column])
    with op.batch_alter_table("quota") as quota:
        quota.add_column(sa.Column("opened", sa.Boolean(), nullable=False, server_default="0"))
        quota.add_column(sa.Column("released", WHOLE, nullable=False, server_default="0"))
        quota.drop_constraint("ck_quota_never_overdrawn", type_="check")
        quota.alter_column("used", new_column_name="reserved")
        quota.create_check_constraint(
            "ck_quota_never_overdrawn",
            "reserved >= 0 AND released >= 0 AND reserved + released <= total",
        )
    op.execute(
        "INSERT INTO posting (quota_id, source, target, amount, grant_id, cause_id, at)"
        " SELECT quota_id, 'free', 'reserved', amount, grant_id, grant_id, drawn_at"
        " FROM quota_draw WHERE amount > 0 ORDER BY drawn_at, id"
    )
    op.drop_table("quota_draw")
    with op.batch_alter_table("holding") as holding:
        holding.add_column(sa.Column("kept", WHOLE, nullable=False, server_default="0"))
        holding.add_column(sa.Column("reserved", WHOLE, nullable=False, server_default="0"))
        holding.add_column(sa.Column("volume_ul", WHOLE, nullable=True))
        holding.create_check_constraint("ck_holding_reserved", "reserved >= 0 AND kept >= 0")
    with op.batch_alter_table("grant_item") as item:
        item.add_column(sa.Column("material", sa.Boolean(), nullable=False, server_default="1"))
        item.add_column(sa.Column("volume_ul", WHOLE, nullable=True))
        item.add_column(sa.Column("bytes", WHOLE, nullable=True))
    op.execute(
        "UPDATE grant_item SET material = false, bytes ="
        " (SELECT bytes FROM holding WHERE holding.id = grant_item.holding_id)"
        " WHERE holding_id IN (SELECT id FROM holding WHERE item_class = 'information')"
    )
    # Tubes that live grants were promised and have not got are theirs from here on.
    op.execute(
        "INSERT INTO posting (holding_id, source, target, amount, grant_id, cause_id, at)"
        " SELECT i.holding_id, 'free', 'reserved', i.units, g.id, g.id, g.created_at"
        " FROM grant_item i JOIN grant_ g ON g.id = i.grant_id"
        " WHERE g.state IN ('active', 'suspended') AND i.removed_at IS NULL"
        " AND i.material AND i.units > 0 AND NOT EXISTS"
        " (SELECT 1 FROM release_item r JOIN release e ON e.id = r.release_id"
        " WHERE e.grant_id = g.id AND r.holding_id = i.holding_id)"
        " ORDER BY g.created_at, g.id, i.holding_id"
    )
    op.execute(
        "UPDATE holding SET reserved ="
        " (SELECT sum(amount) FROM posting WHERE posting.holding_id = holding.id)"
        " WHERE id IN (SELECT holding_id FROM posting WHERE holding_id IS NOT NULL)"
    )


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")
