"""The first schema: every row of the gateway and of the log, from empty."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: Eight bytes on both: an INTEGER of SQLite is as long as it must be.
WHOLE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: Where a row, once written, is never changed or deleted: held by the database itself, so that no
#: later code can forget it.
APPEND_ONLY = (
    "log_leaf",
    "log_checkpoint",
    "log_document",
    "case_event",
    "decision",
    "withdrawal",
)


def upgrade() -> None:  # noqa: PLR0915 - a schema is as long as it is
    """Make every table, then the triggers that keep histories append-only."""
    op.create_table(
        "bank",
        sa.Column("id", WHOLE, nullable=False),
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("facts_version", WHOLE, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bank"),
    )
    op.create_table(
        "determination",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("subject_kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("finding", sa.String(), nullable=False),
        sa.Column("value", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("evidence_sha256", sa.String(), nullable=False),
        sa.Column("expires_on", sa.Date(), nullable=True),
        sa.Column("proposed_by", sa.String(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_by", sa.String(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "confirmed_by IS NULL OR confirmed_by <> proposed_by",
            name="ck_determination_two_people",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_determination"),
    )
    op.create_index("ix_determination_subject_id", "determination", ["subject_id"], unique=False)
    op.create_table(
        "donor",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("sex", sa.String(), nullable=True),
        sa.Column("born", sa.Date(), nullable=True),
        sa.Column("deceased_on", sa.Date(), nullable=True),
        sa.Column("has_capacity", sa.Boolean(), nullable=True),
        sa.Column("chinese", sa.Boolean(), nullable=True),
        sa.Column("pedigree", sa.Boolean(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_donor"),
        sa.UniqueConstraint("code", name="uq_donor_code"),
    )
    op.create_table(
        "export",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("size", WHOLE, nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("bytes", WHOLE, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_export"),
    )
    op.create_table(
        "idempotency",
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("body_hash", sa.String(), nullable=False),
        sa.Column("status", WHOLE, nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("client", "key", name="pk_idempotency"),
    )
    op.create_table(
        "party",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name_zh", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("country", sa.String(), nullable=False),
        sa.Column("registration", sa.String(), nullable=False),
        sa.Column("individual", sa.Boolean(), nullable=False),
        sa.Column("legal_person", sa.Boolean(), nullable=True),
        sa.Column("not_for_profit", sa.Boolean(), nullable=True),
        sa.Column("hkmo_entity", sa.Boolean(), nullable=False),
        sa.Column("mainland_controlled", sa.Boolean(), nullable=True),
        sa.Column("banned_until", sa.Date(), nullable=True),
        sa.Column("ban_checked", sa.Boolean(), nullable=False),
        sa.Column("credit_flag", sa.Boolean(), nullable=False),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_party"),
    )
    op.create_table(
        "released_donor",
        sa.Column("group_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("data_class", sa.String(), nullable=False),
        sa.Column("donor_id", sa.String(), nullable=False),
        sa.Column("overseas", sa.Boolean(), nullable=False),
        sa.Column("release_id", sa.String(), nullable=False),
        sa.Column("year", WHOLE, nullable=False),
        sa.PrimaryKeyConstraint(
            "group_id", "project_id", "data_class", "donor_id", name="pk_released_donor"
        ),
    )
    op.create_table(
        "revoked_token",
        sa.Column("jti", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_revoked_token"),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("secret_hmac", sa.String(), nullable=False),
        sa.Column("pepper", sa.String(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("networks", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rotated_from", sa.String(), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name="fk_api_key_party_id_party"),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
    )
    op.create_index("ix_api_key_party_id", "api_key", ["party_id"], unique=False)
    op.create_table(
        "collection",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name_zh", sa.String(), nullable=False),
        sa.Column("name_en", sa.String(), nullable=False),
        sa.Column("country", sa.String(), nullable=False),
        sa.Column("source_party_id", sa.String(), nullable=False),
        sa.Column("owner_consent_needed", sa.Boolean(), nullable=False),
        sa.Column("special_region", sa.Boolean(), nullable=True),
        sa.Column("source_documented", sa.Boolean(), nullable=True),
        sa.Column("source_lawful", sa.Boolean(), nullable=True),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_party_id"], ["party.id"], name="fk_collection_source_party_id_party"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_collection"),
        sa.UniqueConstraint("code", name="uq_collection_code"),
    )
    op.create_table(
        "control_edge",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("owned_id", sa.String(), nullable=False),
        sa.Column("share", sa.String(), nullable=False),
        sa.Column("votes", sa.String(), nullable=False),
        sa.Column("contract_control", sa.Boolean(), nullable=False),
        sa.Column("influence", sa.String(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("evidence", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["owned_id"], ["party.id"], name="fk_control_edge_owned_id_party"),
        sa.ForeignKeyConstraint(["owner_id"], ["party.id"], name="fk_control_edge_owner_id_party"),
        sa.PrimaryKeyConstraint("id", name="pk_control_edge"),
    )
    op.create_index("ix_control_edge_owned_id", "control_edge", ["owned_id"], unique=False)
    op.create_index("ix_control_edge_owner_id", "control_edge", ["owner_id"], unique=False)
    op.create_table(
        "person",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("totp_secret", sa.String(), nullable=False),
        sa.Column("totp_last_step", WHOLE, nullable=False),
        sa.Column("failures", WHOLE, nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name="fk_person_party_id_party"),
        sa.PrimaryKeyConstraint("id", name="pk_person"),
        sa.UniqueConstraint("login", name="uq_person_login"),
    )
    op.create_table(
        "project",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("chinese_partner_id", sa.String(), nullable=True),
        sa.Column("chinese_participation", sa.Boolean(), nullable=True),
        sa.Column("records_open_and_backed_up", sa.Boolean(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["chinese_partner_id"], ["party.id"], name="fk_project_chinese_partner_id_party"
        ),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name="fk_project_party_id_party"),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
    )
    op.create_index("ix_project_party_id", "project", ["party_id"], unique=False)
    op.create_table(
        "researcher",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("employer_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("nationality", sa.String(), nullable=False),
        sa.Column("individual_capacity", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["employer_id"], ["party.id"], name="fk_researcher_employer_id_party"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_researcher"),
    )
    op.create_index("ix_researcher_employer_id", "researcher", ["employer_id"], unique=False)
    op.create_table(
        "access_request",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("revision", WHOLE, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["party_id"], ["party.id"], name="fk_access_request_party_id_party"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_access_request_project_id_project"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_access_request"),
    )
    op.create_index("ix_access_request_created_at", "access_request", ["created_at"], unique=False)
    op.create_index("ix_access_request_party_id", "access_request", ["party_id"], unique=False)
    op.create_index("ix_access_request_project_id", "access_request", ["project_id"], unique=False)
    op.create_table(
        "paper",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("holder_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=True),
        sa.Column("collection_id", sa.String(), nullable=True),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("open_ended", sa.Boolean(), nullable=False),
        sa.Column("scope", sa.JSON(), nullable=False),
        sa.Column("document_sha256", sa.String(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_by", sa.String(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("void_reason", sa.String(), nullable=False),
        sa.Column("invented", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "checked_by IS NULL OR checked_by <> recorded_by", name="ck_paper_two_people"
        ),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name="fk_paper_collection_id_collection"
        ),
        sa.ForeignKeyConstraint(["holder_id"], ["party.id"], name="fk_paper_holder_id_party"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_paper_project_id_project"),
        sa.PrimaryKeyConstraint("id", name="pk_paper"),
    )
    op.create_index("ix_paper_collection_id", "paper", ["collection_id"], unique=False)
    op.create_index("ix_paper_kind", "paper", ["kind"], unique=False)
    op.create_index("ix_paper_project_id", "paper", ["project_id"], unique=False)
    op.create_table(
        "sign_in",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_sign_in_person_id_person"),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in"),
        sa.UniqueConstraint("token_hash", name="uq_sign_in_token_hash"),
    )
    op.create_index("ix_sign_in_person_id", "sign_in", ["person_id"], unique=False)
    op.create_table(
        "withdrawal",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("donor_id", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=True),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("recorded_by", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["donor_id"], ["donor.id"], name="fk_withdrawal_donor_id_donor"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_withdrawal_project_id_project"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_withdrawal"),
    )
    op.create_index("ix_withdrawal_donor_id", "withdrawal", ["donor_id"], unique=False)
    op.create_table(
        "consent_form",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("collection_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("ethics_paper_id", sa.String(), nullable=True),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("text_sha256", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name="fk_consent_form_collection_id_collection"
        ),
        sa.ForeignKeyConstraint(
            ["ethics_paper_id"], ["paper.id"], name="fk_consent_form_ethics_paper_id_paper"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_consent_form"),
        sa.UniqueConstraint("collection_id", "version", name="uq_consent_form_collection_id"),
    )
    op.create_index(
        "ix_consent_form_collection_id", "consent_form", ["collection_id"], unique=False
    )
    op.create_table(
        "decision",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("version", WHOLE, nullable=True),
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("occasion", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("document_sha256", sa.String(), nullable=False),
        sa.Column("leaf_index", WHOLE, nullable=False),
        sa.Column("facts_version", WHOLE, nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"], ["access_request.id"], name="fk_decision_request_id_access_request"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_decision"),
    )
    op.create_index("ix_decision_leaf_index", "decision", ["leaf_index"], unique=False)
    op.create_index("ix_decision_party_id", "decision", ["party_id"], unique=False)
    op.create_index("ix_decision_request_id", "decision", ["request_id"], unique=False)
    op.create_table(
        "quota",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("paper_id", sa.String(), nullable=False),
        sa.Column("measure", sa.String(), nullable=False),
        sa.Column("total", WHOLE, nullable=False),
        sa.Column("used", WHOLE, nullable=False),
        sa.CheckConstraint("used >= 0 AND used <= total", name="ck_quota_never_overdrawn"),
        sa.ForeignKeyConstraint(["paper_id"], ["paper.id"], name="fk_quota_paper_id_paper"),
        sa.PrimaryKeyConstraint("id", name="pk_quota"),
        sa.UniqueConstraint("paper_id", "measure", name="uq_quota_paper_id"),
    )
    op.create_index("ix_quota_paper_id", "quota", ["paper_id"], unique=False)
    op.create_table(
        "request_version",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("n", WHOLE, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("saved_by", sa.String(), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["access_request.id"],
            name="fk_request_version_request_id_access_request",
        ),
        sa.PrimaryKeyConstraint("request_id", "n", name="pk_request_version"),
    )
    op.create_table(
        "consent_profile",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("form_id", sa.String(), nullable=False),
        sa.Column("ticks", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["form_id"], ["consent_form.id"], name="fk_consent_profile_form_id_consent_form"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_consent_profile"),
    )
    op.create_index("ix_consent_profile_form_id", "consent_profile", ["form_id"], unique=False)
    op.create_table(
        "form_mapping",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("form_id", sa.String(), nullable=False),
        sa.Column("mapping", sa.JSON(), nullable=False),
        sa.Column("proposed_by", sa.String(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_by", sa.String(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "confirmed_by IS NULL OR confirmed_by <> proposed_by", name="ck_form_mapping_two_people"
        ),
        sa.ForeignKeyConstraint(
            ["form_id"], ["consent_form.id"], name="fk_form_mapping_form_id_consent_form"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_form_mapping"),
    )
    op.create_index("ix_form_mapping_form_id", "form_mapping", ["form_id"], unique=False)
    op.create_table(
        "grant_",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("party_id", sa.String(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("accepted", sa.JSON(), nullable=False),
        sa.Column("revision", WHOLE, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name="fk_grant__decision_id_decision"
        ),
        sa.ForeignKeyConstraint(["party_id"], ["party.id"], name="fk_grant__party_id_party"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_grant__project_id_project"
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["access_request.id"], name="fk_grant__request_id_access_request"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_grant_"),
    )
    op.create_index("ix_grant__created_at", "grant_", ["created_at"], unique=False)
    op.create_index("ix_grant__party_id", "grant_", ["party_id"], unique=False)
    op.create_index("ix_grant__project_id", "grant_", ["project_id"], unique=False)
    op.create_index("ix_grant__request_id", "grant_", ["request_id"], unique=False)
    op.create_table(
        "quota_draw",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("quota_id", sa.String(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("amount", WHOLE, nullable=False),
        sa.Column("drawn_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["quota_id"], ["quota.id"], name="fk_quota_draw_quota_id_quota"),
        sa.PrimaryKeyConstraint("id", name="pk_quota_draw"),
    )
    op.create_index("ix_quota_draw_grant_id", "quota_draw", ["grant_id"], unique=False)
    op.create_index("ix_quota_draw_quota_id", "quota_draw", ["quota_id"], unique=False)
    op.create_table(
        "review_case",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("revision", WHOLE, nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name="fk_review_case_decision_id_decision"
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["access_request.id"], name="fk_review_case_request_id_access_request"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_review_case"),
    )
    op.create_index("ix_review_case_opened_at", "review_case", ["opened_at"], unique=False)
    op.create_index("ix_review_case_request_id", "review_case", ["request_id"], unique=False)
    op.create_index("ix_review_case_state", "review_case", ["state"], unique=False)
    op.create_table(
        "case_event",
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("n", WHOLE, nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("from_state", sa.String(), nullable=True),
        sa.Column("to_state", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("dossier_sha256", sa.String(), nullable=False),
        sa.Column("leaf_index", WHOLE, nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["review_case.id"], name="fk_case_event_case_id_review_case"
        ),
        sa.PrimaryKeyConstraint("case_id", "n", name="pk_case_event"),
    )
    op.create_table(
        "consent",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("donor_id", sa.String(), nullable=False),
        sa.Column("collection_id", sa.String(), nullable=False),
        sa.Column("profile_id", sa.String(), nullable=False),
        sa.Column("signed_on", sa.Date(), nullable=False),
        sa.Column("written", sa.Boolean(), nullable=True),
        sa.Column("by_guardian", sa.Boolean(), nullable=False),
        sa.Column("guardian_consent", sa.Boolean(), nullable=True),
        sa.Column("reconsented_on", sa.Date(), nullable=True),
        sa.Column("expires_on", sa.Date(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name="fk_consent_collection_id_collection"
        ),
        sa.ForeignKeyConstraint(["donor_id"], ["donor.id"], name="fk_consent_donor_id_donor"),
        sa.ForeignKeyConstraint(
            ["profile_id"], ["consent_profile.id"], name="fk_consent_profile_id_consent_profile"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_consent"),
    )
    op.create_index("ix_consent_collection_id", "consent", ["collection_id"], unique=False)
    op.create_index("ix_consent_donor_id", "consent", ["donor_id"], unique=False)
    op.create_index("ix_consent_profile_id", "consent", ["profile_id"], unique=False)
    op.create_table(
        "release",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("manifest_sha256", sa.String(), nullable=False),
        sa.Column("visa", sa.String(), nullable=False),
        sa.Column("handed_by", sa.String(), nullable=False),
        sa.Column("handed_how", sa.String(), nullable=False),
        sa.Column("handed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_by", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("receipt_sha256", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["decision_id"], ["decision.id"], name="fk_release_decision_id_decision"
        ),
        sa.ForeignKeyConstraint(["grant_id"], ["grant_.id"], name="fk_release_grant_id_grant_"),
        sa.PrimaryKeyConstraint("id", name="pk_release"),
    )
    op.create_index("ix_release_created_at", "release", ["created_at"], unique=False)
    op.create_index("ix_release_grant_id", "release", ["grant_id"], unique=False)
    op.create_table(
        "holding",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("donor_id", sa.String(), nullable=False),
        sa.Column("consent_id", sa.String(), nullable=True),
        sa.Column("collection_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("item_class", sa.String(), nullable=True),
        sa.Column("data_class", sa.String(), nullable=True),
        sa.Column("contains_cells", sa.Boolean(), nullable=True),
        sa.Column("extracted_nucleic_acid", sa.Boolean(), nullable=True),
        sa.Column("derived", sa.String(), nullable=True),
        sa.Column("collected_on", sa.Date(), nullable=True),
        sa.Column("collected_abroad", sa.Boolean(), nullable=True),
        sa.Column("disease", sa.String(), nullable=True),
        sa.Column("units", WHOLE, nullable=False),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("bytes", WHOLE, nullable=True),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.CheckConstraint("units >= 0", name="ck_holding_units_left"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name="fk_holding_collection_id_collection"
        ),
        sa.ForeignKeyConstraint(
            ["consent_id"], ["consent.id"], name="fk_holding_consent_id_consent"
        ),
        sa.ForeignKeyConstraint(["donor_id"], ["donor.id"], name="fk_holding_donor_id_donor"),
        sa.PrimaryKeyConstraint("id", name="pk_holding"),
        sa.UniqueConstraint("code", name="uq_holding_code"),
    )
    op.create_index("ix_holding_collection_id", "holding", ["collection_id"], unique=False)
    op.create_index("ix_holding_consent_id", "holding", ["consent_id"], unique=False)
    op.create_index("ix_holding_disease", "holding", ["disease"], unique=False)
    op.create_index("ix_holding_donor_id", "holding", ["donor_id"], unique=False)
    op.create_table(
        "grant_item",
        sa.Column("grant_id", sa.String(), nullable=False),
        sa.Column("holding_id", sa.String(), nullable=False),
        sa.Column("donor_id", sa.String(), nullable=False),
        sa.Column("units", WHOLE, nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("removed_reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["donor_id"], ["donor.id"], name="fk_grant_item_donor_id_donor"),
        sa.ForeignKeyConstraint(["grant_id"], ["grant_.id"], name="fk_grant_item_grant_id_grant_"),
        sa.ForeignKeyConstraint(
            ["holding_id"], ["holding.id"], name="fk_grant_item_holding_id_holding"
        ),
        sa.PrimaryKeyConstraint("grant_id", "holding_id", name="pk_grant_item"),
    )
    op.create_index("ix_grant_item_donor_id", "grant_item", ["donor_id"], unique=False)
    op.create_table(
        "release_item",
        sa.Column("release_id", sa.String(), nullable=False),
        sa.Column("holding_id", sa.String(), nullable=False),
        sa.Column("donor_id", sa.String(), nullable=False),
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("units", WHOLE, nullable=False),
        sa.ForeignKeyConstraint(["donor_id"], ["donor.id"], name="fk_release_item_donor_id_donor"),
        sa.ForeignKeyConstraint(
            ["holding_id"], ["holding.id"], name="fk_release_item_holding_id_holding"
        ),
        sa.ForeignKeyConstraint(
            ["release_id"], ["release.id"], name="fk_release_item_release_id_release"
        ),
        sa.PrimaryKeyConstraint("release_id", "holding_id", name="pk_release_item"),
    )
    op.create_index("ix_release_item_donor_id", "release_item", ["donor_id"], unique=False)
    op.create_table(
        "log_checkpoint",
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "size", name="pk_log_checkpoint"),
    )
    op.create_table(
        "log_document",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_log_document"),
    )
    op.create_table(
        "log_head",
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("last_time_us", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("origin", name="pk_log_head"),
    )
    op.create_table(
        "log_leaf",
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "idx", name="pk_log_leaf"),
    )
    op.create_table(
        "log_opening",
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("idx", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "idx", "name", name="pk_log_opening"),
    )
    op.create_table(
        "log_tile",
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "level", "n", name="pk_log_tile"),
    )
    for table in APPEND_ONLY:
        _keep(table)


def downgrade() -> None:
    """Refuse: what is recorded is never taken back."""
    raise NotImplementedError("a bank is never migrated backwards; restore its back-up instead")


def _keep(table: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'append-only: %', TG_TABLE_NAME "
            "USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
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
