"""What decisions rest on, corrections of shared facts, and the generations of the law."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; mark voided forms, collections and parties; name the law of each decision."""
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "decision_rests_on",
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name="fk_decision_rests_on_decision_id_decision"
        ),
        sa.PrimaryKeyConstraint("decision_id", "kind", "subject_id", name="pk_decision_rests_on"),
    )
    op.create_index("ix_decision_rests_on_subject_id", "decision_rests_on", ["subject_id"])
    op.create_table(
        "correction",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("evidence_sha256", sa.String(), nullable=False),
        sa.Column("proposed_by", sa.String(), nullable=False),
        sa.Column("proposed_at", instant, nullable=False),
        sa.Column("confirmed_by", sa.String(), nullable=True),
        sa.Column("applied_at", instant, nullable=True),
        sa.CheckConstraint(
            "confirmed_by IS NULL OR confirmed_by <> proposed_by", name="ck_correction_two_people"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_correction"),
    )
    op.create_index("ix_correction_subject_id", "correction", ["subject_id"])
    op.create_table(
        "law_file",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_law_file"),
    )
    op.create_table(
        "law_generation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("proposed_by", sa.String(), nullable=False),
        sa.Column("proposed_at", instant, nullable=False),
        sa.Column("activated_by", sa.String(), nullable=True),
        sa.Column("activated_at", instant, nullable=True),
        sa.CheckConstraint(
            "activated_by IS NULL OR activated_by <> proposed_by",
            name="ck_law_generation_two_people",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_law_generation"),
    )
    op.add_column("bank", sa.Column("law_generation_id", sa.String(), nullable=True))
    op.add_column("decision", sa.Column("law_generation_id", sa.String(), nullable=True))
    for table in ("collection", "consent_form", "party"):
        op.add_column(table, sa.Column("voided_at", instant, nullable=True))
    for table in ("decision_rests_on", "law_file"):
        _keep(table)


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")


def _keep(table: str) -> None:
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
