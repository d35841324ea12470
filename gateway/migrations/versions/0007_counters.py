"""Counters keep the recipient beside its group of the day, and each year; openings state what went before."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEY = ["source_id", "party_id", "project_id", "data_class", "donor_id", "year"]


def upgrade() -> None:
    """Of what is counted already the recipient is not known: its group, itself a party, stands for it."""
    with op.batch_alter_table("released_donor") as released:
        released.add_column(sa.Column("party_id", sa.String(), nullable=True))
        released.alter_column(
            "release_id", new_column_name="source_id", existing_type=sa.String(), nullable=False
        )
    op.execute("UPDATE released_donor SET party_id = group_id")
    with op.batch_alter_table("released_donor") as released:
        released.alter_column("party_id", existing_type=sa.String(), nullable=False)
        released.drop_constraint("pk_released_donor", type_="primary")
        released.create_primary_key("pk_released_donor", _KEY)
    project = ["project_id", "donor_id", "data_class", "party_id", "group_id", "source_id"]
    op.create_index("ix_released_donor_project", "released_donor", project)
    year = ["year", "overseas", "donor_id", "data_class", "source_id"]
    op.create_index("ix_released_donor_year", "released_donor", year)
    _keep("released_donor")
    op.create_table(
        "opening",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("through", sa.Date(), nullable=False),
        sa.Column("whole", sa.JSON(), nullable=False),
        sa.Column("people_abroad", sa.JSON(), nullable=False),
        sa.Column("corrects", sa.String(), nullable=True),
        sa.Column("proposed_by", sa.String(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_by", sa.String(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "confirmed_by IS NULL OR confirmed_by <> proposed_by", name="ck_opening_two_people"
        ),
        sa.ForeignKeyConstraint(["corrects"], ["opening.id"], name="fk_opening_corrects_opening"),
        sa.PrimaryKeyConstraint("id", name="pk_opening"),
        sa.UniqueConstraint("sha256", name="uq_opening_sha256"),
    )


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")


def _keep(table: str) -> None:
    """What was counted is never changed: other years and other recipients are further rows."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION append_only()"
        )
        return
    for act in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'append-only: {table}'); END"
        )
