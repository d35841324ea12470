"""The invented world of the demo and the tests, filled into a new bank from a seed.

Real are only the ids, populations and sex of the 1000 Genomes panel; all else is invented and marked so
(`demo_data/README.md`). The same seed always gives the same rows, whatever the day.
"""

from __future__ import annotations

import csv
import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from importlib.resources import files
from io import StringIO
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.bank import Bank, bump
from gateway.registry import openings
from gateway.registry.papers import PaperDraft, quota_rows, row_of
from gateway.tables import SHANGHAI, metadata
from policies import strict

#: The two invented persons behind every paper, mapping and determination of this world.
FIRST, SECOND = "psn_invented_first", "psn_invented_second"

#: Forms of this world: the one everybody signed, and the one from before the Regulations.
_FORM_FROM, _OLD_FORM_FROM = date(2020, 1, 1), date(2018, 3, 1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The ids of what was filled in, by the short name each has in `demo_data/world.yaml`.

    Collections and forms are named by the site's code in lower case, donors by their panel id.
    `withdrawn` are the donor ids of each scope of withdrawal.
    """

    parties: Mapping[str, str]
    projects: Mapping[str, str]
    collections: Mapping[str, str]
    researchers: Mapping[str, str]
    papers: Mapping[str, str]
    forms: Mapping[str, str]
    donors: Mapping[str, str]
    withdrawn: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Donor:
    """One row of the panel with what the seed drew for it."""

    id: str
    code: str
    population: str
    sex: str
    disease: str | None
    tumour: bool
    chance: random.Random


def fill(conn: Connection, bank: Bank, *, seed: int = 20260101, now: datetime) -> World:
    """Fill a new bank within the writer's transaction; `now` is when everything was recorded.

    1 parties and who holds them; 2 projects and researchers; 3 collections; 4 papers and
    determinations; 5 forms and what they mean; 6 donors, consents, holdings; 7 withdrawals; 8 the
    counters, opened with nothing in them: a new bank has no past.
    """
    data = _world()
    parties = {"bank": bank.party_id}
    parties |= {party["id"]: f"pty_{party['id']}" for party in data["parties"]}
    _fill_parties(conn, data, parties, now)
    projects, researchers = _fill_studies(conn, data, parties, now)
    collections = _fill_collections(conn, data, parties, now)
    papers = _fill_papers(conn, data, parties, projects, collections, now)
    _fill_determinations(conn, data, parties, now)
    forms = _fill_forms(conn, data, collections, now)
    donors = _draw_donors(data, seed)
    _fill_donors(conn, data, donors, collections, now)
    withdrawn = _fill_withdrawals(conn, data, donors, projects, seed, now)
    _open(conn, bank, now)
    bump(conn)
    return World(
        parties=parties,
        projects=projects,
        collections=collections,
        researchers=researchers,
        papers=papers,
        forms=forms,
        donors={donor.code: donor.id for donor in donors},
        withdrawn=withdrawn,
    )


def _world() -> dict[str, Any]:
    source = files("gateway").joinpath("demo_data", "world.yaml")
    data = strict.load(source.read_bytes(), "world.yaml").data
    if not isinstance(data, dict):
        raise TypeError("world.yaml must be a mapping")
    return data


def _insert(conn: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        conn.execute(sa.insert(metadata.tables[table]), list(rows))


def _digest(*parts: object) -> str:
    """The SHA-256 an invented document or file would have: of its name, since it has no content."""
    return hashlib.sha256("\x00".join(map(str, parts)).encode()).hexdigest()


def _fill_parties(
    conn: Connection, data: Mapping[str, Any], parties: Mapping[str, str], now: datetime
) -> None:
    flags = ("individual", "hkmo_entity")
    _insert(
        conn,
        "party",
        [
            {
                "id": parties[party["id"]],
                "name_zh": party["zh"],
                "name_en": party["en"],
                "country": party["country"],
                "registration": f"INVENTED-{_digest(party['id'])[:10].upper()}",
                "legal_person": not party.get("individual", False),
                "not_for_profit": party.get("not_for_profit", False),
                "mainland_controlled": party.get("mainland_controlled"),
                "ban_checked": True,
                "credit_flag": False,
                "invented": True,
                "created_at": now,
                **{flag: party.get(flag, False) for flag in flags},
            }
            for party in data["parties"]
        ],
    )
    rows = metadata.tables["party"]
    conn.execute(sa.update(rows).where(rows.c.id == parties["bank"]).values(data["bank"]))
    _insert(
        conn,
        "control_edge",
        [
            {
                "id": f"edg_{edge['owner']}_{edge['owned']}",
                "owner_id": parties[edge["owner"]],
                "owned_id": parties[edge["owned"]],
                "share": _share(edge["share"]),
                "votes": _share(edge["share"]),
                "contract_control": False,
                "influence": "none",
                "valid_from": date(2020, 1, 1),
                "evidence": "虚构股东名册",
            }
            for edge in data["edges"]
        ],
    )


def _share(text: str) -> str:
    share = Fraction(text)
    return f"{share.numerator}/{share.denominator}"


def _fill_studies(
    conn: Connection, data: Mapping[str, Any], parties: Mapping[str, str], now: datetime
) -> tuple[dict[str, str], dict[str, str]]:
    projects = {project["id"]: f"prj_{project['id']}" for project in data["projects"]}
    _insert(
        conn,
        "project",
        [
            {
                "id": projects[project["id"]],
                "party_id": parties[project["party"]],
                "title": project["title"],
                "chinese_partner_id": parties.get(project.get("partner", "")),
                "chinese_participation": project.get("participation"),
                "records_open_and_backed_up": project.get("records"),
                "created_at": now,
            }
            for project in data["projects"]
        ],
    )
    researchers = {person["id"]: f"res_{person['id']}" for person in data["researchers"]}
    _insert(
        conn,
        "researcher",
        [
            {
                "id": researchers[person["id"]],
                "employer_id": parties[person["employer"]],
                "name": person["name"],
                "nationality": person["nationality"],
                "individual_capacity": False,
                "created_at": now,
            }
            for person in data["researchers"]
        ],
    )
    return projects, researchers


def _fill_collections(
    conn: Connection, data: Mapping[str, Any], parties: Mapping[str, str], now: datetime
) -> dict[str, str]:
    ids = {site["code"].lower(): f"col_{site['code'].lower()}" for site in data["sites"]}
    _insert(
        conn,
        "collection",
        [
            {
                "id": ids[site["code"].lower()],
                "code": site["code"],
                "name_zh": site["zh"],
                "name_en": site["en"],
                "country": site.get("country", "CN"),
                "source_party_id": parties[site.get("source", "bank")],
                "owner_consent_needed": site.get("owner_consent_needed", False),
                "special_region": site.get("special_region", False),
                "source_documented": True,
                "source_lawful": True,
                "invented": True,
                "created_at": now,
            }
            for site in data["sites"]
        ],
    )
    return ids


def _fill_papers(
    conn: Connection,
    data: Mapping[str, Any],
    parties: Mapping[str, str],
    projects: Mapping[str, str],
    collections: Mapping[str, str],
    now: datetime,
) -> dict[str, str]:
    ids = {paper["id"]: f"ppr_{paper['id']}" for paper in data["papers"]}
    rows, quotas = [], []
    for paper in data["papers"]:
        scope = {
            name: paper[name]
            for name in ("purposes", "types", "committee_registered", "foreign_side")
            if name in paper
        }
        if "parties" in paper:
            scope["parties"] = [parties[name] for name in paper["parties"]]
        draft = PaperDraft(
            kind=paper["kind"],
            number=paper["number"],
            issuer=paper["issuer"],
            holder_id=parties[paper["holder"]],
            project_id=projects.get(paper.get("project", "")),
            collection_id=collections.get(paper.get("collection", "").lower()),
            valid_from=paper["from"],
            valid_to=paper["to"],
            document_sha256=_digest("paper", paper["id"]),
            scope=scope,
            quotas=paper.get("quotas", {}),
            invented=True,
        )
        row = row_of(draft, ids[paper["id"]], person_id=FIRST, now=now)
        rows.append(row | {"checked_by": SECOND, "checked_at": now})
        quotas += [
            quota
            | {
                "id": f"qta_{paper['id']}_{quota['measure']}",
                "opened": paper["drawn"][quota["measure"]] == 0,  # nothing was, in an invented bank
            }
            for quota in quota_rows(draft, ids[paper["id"]])
        ]
    _insert(conn, "paper", rows)
    _insert(conn, "quota", quotas)
    return ids


def _fill_determinations(
    conn: Connection, data: Mapping[str, Any], parties: Mapping[str, str], now: datetime
) -> None:
    _insert(
        conn,
        "determination",
        [
            {
                "id": f"det_{each['subject']}_{each['finding']}",
                "subject_kind": "party",
                "subject_id": parties[each["subject"]],
                "finding": each["finding"],
                "value": each["value"],
                "reason": each["reason"],
                "evidence_sha256": _digest("determination", each["finding"]),
                "proposed_by": FIRST,
                "proposed_at": now,
                "confirmed_by": SECOND,
                "confirmed_at": now,
            }
            for each in data["determinations"]
        ],
    )


def _fill_forms(
    conn: Connection, data: Mapping[str, Any], collections: Mapping[str, str], now: datetime
) -> dict[str, str]:
    sites = {site["code"].lower(): site for site in data["sites"]}
    forms = {code: f"frm_{code}" for code in sites}
    old = {code for code, site in sites.items() if site.get("old_form")}
    _insert(
        conn,
        "consent_form",
        [
            {
                "id": form,
                "collection_id": collections[code],
                "version": "2018-旧版" if code in old else "2020-A",
                "title": "捐献样本同意书（虚构旧版）"
                if code in old
                else "人类遗传资源知情同意书（虚构）",
                "valid_from": _OLD_FORM_FROM if code in old else _FORM_FROM,
                "text_sha256": _digest("form", code),
                "created_at": now,
            }
            for code, form in forms.items()
        ],
    )
    _insert(
        conn,
        "form_mapping",
        [
            {
                "id": f"map_{code}",
                "form_id": form,
                "mapping": data["mapping"],
                "proposed_by": FIRST,
                "proposed_at": now,
                "confirmed_by": SECOND,
                "confirmed_at": now,
            }
            for code, form in forms.items()
            if code not in old
        ],
    )
    _insert(
        conn,
        "consent_profile",
        [
            {"id": _profile_id(code, n), "form_id": form, "ticks": sorted(ticks)}
            for code, form in forms.items()
            for n, ticks in enumerate(
                [data["old_ticks"]] if code in old else [each["ticks"] for each in data["profiles"]]
            )
        ],
    )
    return forms


def _profile_id(code: str, n: int) -> str:
    return f"cpr_{code}_{n}"


def _draw_donors(data: Mapping[str, Any], seed: int) -> list[_Donor]:
    """The panel's rows with a disease for two in five, each with a source of chance of its own."""
    panel = (
        files("gateway").joinpath("demo_data", "1000genomes-phase3.panel.tsv").read_text("utf-8")
    )
    diseases = data["diseases"]
    donors = []
    for row in csv.DictReader(StringIO(panel), delimiter="\t"):
        # Seeded by the id as well: a donor is the same whoever else is in the file.
        chance = random.Random(f"{seed} {row['sample']}")  # noqa: S311 - invented data, no secret
        found = None
        if chance.random() < 0.4:
            found = chance.choices(diseases, [each["weight"] for each in diseases])[0]
        donors.append(
            _Donor(
                id=f"dnr_{row['sample'].lower()}",
                code=row["sample"],
                population=row["pop"].lower(),
                sex=row["gender"],
                disease=found["term"] if found else None,
                tumour=bool(found and found["tumour"]),
                chance=chance,
            )
        )
    return donors


def _fill_donors(
    conn: Connection,
    data: Mapping[str, Any],
    donors: Iterable[_Donor],
    collections: Mapping[str, str],
    now: datetime,
) -> None:
    sites = {site["code"].lower(): site for site in data["sites"]}
    pedigrees = {code: site.get("pedigrees", 0) for code, site in sites.items()}
    rows: dict[str, list[dict[str, Any]]] = {"donor": [], "consent": [], "holding": []}
    for donor in donors:
        site, code = sites[donor.population], donor.population
        turns = _turns(data, donor)
        signed = (date(2018, 4, 1) if site.get("old_form") else _FORM_FROM) + _DAY * (
            donor.chance.randrange(400 if site.get("old_form") else 1400)
        )
        collected = signed + _DAY * donor.chance.randrange(10)
        if "consent_after_collection" in turns:
            signed = collected + _DAY * 30
        pedigrees[code] -= 1
        rows["donor"].append(
            {
                "id": donor.id,
                "code": donor.code,
                "sex": donor.sex,
                "born": _born(donor, signed, turns),
                "deceased_on": date(2025, 6, 1) if "deceased" in turns else None,
                "has_capacity": True,
                "chinese": site.get("country", "CN") == "CN",
                "pedigree": pedigrees[code] >= 0,
                "created_at": now,
            }
        )
        child = bool(turns & {"guardian_now_adult", "minor"})
        rows["consent"].append(
            {
                "id": f"cns_{donor.code.lower()}",
                "donor_id": donor.id,
                "collection_id": collections[code],
                "profile_id": _profile_id(code, _ticked(data, donor, site)),
                "signed_on": signed,
                "written": "oral_consent" not in turns,
                "by_guardian": child,
                "guardian_consent": True if child else None,
                "reconsented_on": None,
                "expires_on": date(2028, 12, 31) if "expiring" in turns else None,
                "recorded_at": now,
            }
        )
        rows["holding"] += _holdings(data, donor, collections[code], site, collected)
    for table, content in rows.items():
        _insert(conn, table, content)


def _turns(data: Mapping[str, Any], donor: _Donor) -> set[str]:
    """Which of the faults and turns fell to this donor; a child's age settles the others' order."""
    here = donor.population.upper()
    turns = {
        name
        for name, often in data["in_a_thousand"].items()
        if donor.chance.random() * 1000 < often and here in data["only_at"].get(name, [here])
    }
    return turns - {"minor"} if "guardian_now_adult" in turns else turns


def _born(donor: _Donor, signed: date, turns: set[str]) -> date:
    """An adult at signing; or a child then who is 18 by 2026; or one who is under age into 2030."""
    if "guardian_now_adult" in turns:
        return date(2004 + donor.chance.randrange(3), 1 + donor.chance.randrange(12), 15)
    if "minor" in turns:
        return date(2013 + donor.chance.randrange(4), 1 + donor.chance.randrange(12), 15)
    return date(signed.year - 20 - donor.chance.randrange(55), 1 + donor.chance.randrange(12), 15)


def _ticked(data: Mapping[str, Any], donor: _Donor, site: Mapping[str, Any]) -> int:
    """Which profile the donor ticked: a disease's own only if they have it, a place's only there."""
    if site.get("old_form"):
        return 0
    cancer = donor.disease is not None and donor.disease != "DOID:9352"
    mine = {"DOID:162": cancer, "DOID:9351": donor.disease == "DOID:9352", "": True}
    weights = [
        each["weight"]
        if mine[each.get("disease", "")]
        and site["code"] in each.get("sites", [site["code"]])
        and ("gs:CN" not in each["ticks"] or site.get("country", "CN") == "CN")
        else 0
        for each in data["profiles"]
    ]
    return donor.chance.choices(range(len(weights)), weights)[0]


def _holdings(
    data: Mapping[str, Any],
    donor: _Donor,
    collection: str,
    site: Mapping[str, Any],
    collected: date,
) -> Iterable[dict[str, Any]]:
    for kind in data["kinds"]:
        if kind.get("tumour") and not donor.tumour:
            continue
        if donor.chance.random() * 100 >= kind["percent"]:
            continue
        is_data = kind["class"] == "information"
        yield {
            "id": f"hld_{donor.code.lower()}_{kind['kind']}",
            "code": f"{donor.code}-{kind['kind'].replace('_', '-').upper()}",
            "donor_id": donor.id,
            "consent_id": f"cns_{donor.code.lower()}",
            "collection_id": collection,
            "kind": kind["kind"],
            "item_class": kind["class"],
            "data_class": kind["kind"] if is_data else None,
            "contains_cells": kind.get("cells"),
            "extracted_nucleic_acid": kind.get("nucleic_acid"),
            "derived": None if is_data else "primary",
            "collected_on": collected,
            "collected_abroad": site.get("country", "CN") != "CN",
            "disease": donor.disease,
            "units": 1 if is_data else donor.chance.randint(1, kind["most"]),
            "sha256": _digest("data", donor.code, kind["kind"]) if is_data else None,
            "bytes": kind["bytes"] * donor.chance.randint(80, 120) // 100 if is_data else None,
            "available": True,
        }


def _fill_withdrawals(
    conn: Connection,
    data: Mapping[str, Any],
    donors: Sequence[_Donor],
    projects: Mapping[str, str],
    seed: int,
    now: datetime,
) -> dict[str, tuple[str, ...]]:
    chance = random.Random(f"{seed} withdrawals")  # noqa: S311 - invented data, no secret
    leaving = iter(chance.sample(donors, sum(data["withdrawals"].values())))
    effective = datetime.combine(date(2026, 5, 6), time(9), SHANGHAI).astimezone(UTC)
    withdrawn = {
        scope: tuple(next(leaving).id for _ in range(count))
        for scope, count in data["withdrawals"].items()
    }
    _insert(
        conn,
        "withdrawal",
        [
            {
                "id": f"wdr_{donor}",
                "donor_id": donor,
                "scope": scope,
                "project_id": projects[data["withdrawn_study"]] if scope == "study" else None,
                "effective_at": effective,
                "channel": "采集站转交（虚构）",
                "recorded_by": FIRST,
                "recorded_at": now,
            }
            for scope, leaving_ in withdrawn.items()
            for donor in leaving_
        ],
    )
    return withdrawn


def _open(conn: Connection, bank: Bank, now: datetime) -> None:
    draft = openings.from_file(
        f"format: hgr-opening-1\nbank: {bank.origin}\nthrough: {now.astimezone(SHANGHAI).date()}\n"
        "whole: [donors, people_abroad]\nnote: 虚构库此前未提供\n".encode()
    )
    made = openings.propose(conn, draft, person_id=FIRST, now=now)
    openings.confirm(conn, made.id, draft, digest=draft.sha256, person_id=SECOND, now=now)
