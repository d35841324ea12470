"""Requests the tests ask: one whole, plain, domestic one, and what each test changes of it."""

from __future__ import annotations

import json
from typing import Any

from gateway.registry.ask import Ask

PLAIN: dict[str, Any] = {
    "project": "prj_hospital_hmb",
    "recipient": "pty_shanghai_hospital",
    "recipient_role": "partner",
    "recipient_has_access": True,
    "sponsor": "none",
    "beneficiary": "none",
    "host": {"operator": "pty_bank", "place": "CN"},
    "users": [{"researcher": "res_li_wei", "access_country": "CN"}],
    "outputs": ["individual"],
    "purpose": {
        "research": "health",
        "commercial": False,
        "genetic": True,
        "publication_planned": True,
        "publication_from": "2028-01-01",
        "collaborators": [],
    },
    "items": {"kinds": ["whole_blood", "dna"], "cohort": {"collections": ["col_chb"]}},
    "price": {"price_fen": 0},
    "leftover": "destroy",
    "material_exits": False,
    "extracts_nucleic_acid": True,
    "clinical_care": False,
    "research_use": True,
    "embryo_or_germline": "none",
    "new_biomedical_technology": False,
    "pi_form": "deidentified",
}

#: The foreign university with its approved cooperation asks for genomes of one site.
FOREIGN: dict[str, Any] = PLAIN | {
    "project": "prj_sino_foreign",
    "recipient": "pty_foreign_university",
    "users": [
        {"researcher": "res_smith", "access_country": "GB"},
        {"researcher": "res_wang_lin", "access_country": "CN"},
    ],
    "items": {"kinds": ["genome"], "cohort": {"collections": ["col_chb"]}},
    "agreement": {
        "signed": True,
        "clauses": ["records_open", "backup", "joint_patents", "benefit", "no_onward"],
    },
    "site": "single",
    "changes": [],
    "quantities": {"protocol_people": 10_000, "protocol_units": 100_000, "form_units": 100_000},
    "us_persons": {"genomic": 0, "other_omic": 0},
    "produced_in_cooperation": False,
}


def ask(changes: dict[str, Any] | None = None, *, of: dict[str, Any] = PLAIN) -> Ask:
    """A request as it comes over the wire."""
    return Ask.model_validate_json(json.dumps(of | (changes or {})))
