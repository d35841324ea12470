"""The legal notions that rules speak of (*foreign party*, *HGR material*), computed from plain facts.

The rules it keeps: every function is pure and three-valued, None is "not known" and never False, and
each names the article it carries out. Where a text can be read two ways the stricter reading is
taken, or None is returned so that a person judges. A function asks for a fact only when the answer
hangs on it, so that a missing fact is named only when it matters.

    DERIVED["foreign_party.recipient"](facts.get) -> True, False or None
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from fractions import Fraction
from functools import partial

from policies.consent import Told
from policies.request import Value
from policies.vocabulary import Function, Lookup, fraction

#: Part of every decision's digests: raised whenever a function here may answer differently.
VERSION = "2"

#: Those a request is for, and the kinds of paper: the templates of vocabulary.yaml.
PARTIES = ("requester", "recipient", "sponsor", "beneficiary", "host")
PAPERS = (
    "preservation",
    "cooperation",
    "filing",
    "exit",
    "prior_report",
    "backup",
    "security_review",
    "ethics",
    "standard_contract",
    "cac_assessment",
    "pia",
    "customs",
    "deposit",
    "collection",
    "waiver",
    "decree_818",
    "certification",
    "change_approval",
    "change_statement",
    "site_undertaking",
    "renewal",
)

#: Those who may be there without taking part; nobody asks, benefits or hosts without doing so.
BYSTANDERS = frozenset({"recipient", "sponsor"})

MAINLAND = "CN"

#: The one purpose code that is no research (DUO:0000043); every other names a kind of research.
CARE = "clinical_care"
IMPLEMENTING_RULES = date(2023, 7, 1)  # Order 21 art. 78
CELL_LINE_ANSWERS = date(2025, 1, 1)  # NHC questions and answers of January 2025
EDC_ANSWER = date(2025, 3, 1)  # NHC questions and answers of March 2025

#: Implementing Rules art. 12(1): 百分之五十以上, and 以上 includes the number itself.
CONTROLLING_SHARE = Fraction(1, 2)

#: 2023 guide: gene and genome data, transcriptome, epigenome, nucleic-acid markers such as ctDNA.
SEQUENCE_CLASSES = frozenset({"genome", "exome", "panel", "transcriptome", "epigenome", "ctDNA"})

#: Regulations art. 24: records open, backup with the Chinese side, joint patents, other results.
STATUTORY_CLAUSES = frozenset({"records_open", "backup", "joint_patents", "benefit"})


# ---- three-valued logic (Kleene) ---------------------------------------------------------------


def _all(truths: Iterable[bool | None]) -> bool | None:
    """False if any is False, else None if any is None, else True. Stops at the first False."""
    known = True
    for truth in truths:
        if truth is False:
            return False
        known = known and truth is not None
    return True if known else None


def _any(truths: Iterable[bool | None]) -> bool | None:
    """True if any is True, else None if any is None, else False. Stops at the first True."""
    known = True
    for truth in truths:
        if truth is True:
            return True
        known = known and truth is not None
    return False if known else None


def _not(truth: bool | None) -> bool | None:  # noqa: FBT001 -- a truth value is what it negates
    return None if truth is None else not truth


def _truth(look: Lookup, name: str) -> bool | None:
    value = look(name)
    return value if isinstance(value, bool) else None


def _is(look: Lookup, name: str, wanted: str) -> bool | None:
    value = look(name)
    return None if value is None else value == wanted


def _day(look: Lookup, name: str) -> date | None:
    value = look(name)
    return value if isinstance(value, date) else None


def _members(look: Lookup, name: str) -> frozenset[str] | None:
    value = look(name)
    return value if isinstance(value, frozenset) else None


def _number(look: Lookup, name: str) -> int | None:
    value = look(name)
    return value if isinstance(value, int) else None


def _since(look: Lookup, day: date) -> bool | None:
    """Whether the release date is `day` or later."""
    as_of = _day(look, "as_of")
    return None if as_of is None else as_of >= day


def _outside(look: Lookup, name: str, allowed: frozenset[str]) -> bool | None:
    """Whether a set holds anything that is not in `allowed`."""
    members = _members(look, name)
    return None if members is None else not members <= allowed


# ---- parties -----------------------------------------------------------------------------------


def foreign_party(look: Lookup, party: str) -> bool | None:
    """Whether a party is a foreign party (外方单位); False for a party that is not there.

    Biosecurity Law art. 56(4), Regulations art. 7: foreign organisations and individuals, and bodies
    they set up or actually control. Implementing Rules art. 12 says what control is: (1) half or
    more of shares or votes, direct or indirect, either way of counting; (2) less, but dominating or
    materially influencing; (3) by agreement or other arrangement. "Actually control" stood in the
    Regulations before the Rules, so the same, stricter, test runs on earlier dates.

    Taiwan is not in the Hong Kong and Macau exception of Implementing Rules art. 11.
    """
    return _foreign(look, party, _controlled_by_foreigners)


def foreign_by_share(look: Lookup, party: str) -> bool | None:
    """The same as the draft Rules of 2026-05-08 would have it: half of shares or votes, and nothing else.

    NOTE: not law; only that draft names it. It is reported to drop "actual control" below one half.
    """
    return _foreign(look, party, _held_by_half)


_Judge = Callable[[Lookup, str], bool | None]


def _foreign(look: Lookup, party: str, controlled: _Judge) -> bool | None:
    def gates() -> Iterable[bool | None]:
        yield _truth(look, f"{party}.present")
        yield _of_foreigners(look, party, controlled)

    return _all(gates())


def _of_foreigners(look: Lookup, party: str, controlled: _Judge) -> bool | None:
    country = look(f"{party}.country")
    # Officers who looked and found it foreign outweigh what its register shows.
    if _truth(look, f"{party}.determined_chinese") is False:
        return True
    if country is None:
        return None
    if country in {"HK", "MO"}:
        return _foreign_from_hkmo(look, party)
    if country != MAINLAND:
        return True
    # A person has no shareholders: for an individual the country, a nationality, settles it.
    return _all((_not(_truth(look, f"{party}.individual")), controlled(look, party)))


def _foreign_from_hkmo(look: Lookup, party: str) -> bool | None:
    """Implementing Rules art. 11: mainland-controlled entities set up in HK or Macau are Chinese.

    The wording was found nowhere (law.md: low), so a claim alone is never enough: without an
    officers' determination the answer is None. Before the Rules they counted as foreign.
    """
    claim = _all(
        (
            _since(look, IMPLEMENTING_RULES),
            _not(_truth(look, f"{party}.individual")),
            _truth(look, f"{party}.hkmo_entity"),
            _truth(look, f"{party}.mainland_controlled"),
        )
    )
    if claim is not True:
        return _not(claim)
    return _not(_truth(look, f"{party}.determined_chinese"))


def _controlled_by_foreigners(look: Lookup, party: str) -> bool | None:
    return _any(judge(look, party) for judge in (_held_by_half, _dominated))


def _held_by_half(look: Lookup, party: str) -> bool | None:
    """Implementing Rules art. 12(1); of the two ways to look through a chain the stricter counts."""
    return _any(
        _at_half(look, f"{party}.{share}")
        for share in ("foreign_share_product", "foreign_share_chain", "foreign_votes")
    )


def _at_half(look: Lookup, name: str) -> bool | None:
    share = look(name)
    return fraction(share) >= CONTROLLING_SHARE if isinstance(share, str) else None


def _dominated(look: Lookup, party: str) -> bool | None:
    """Implementing Rules art. 12(2) and (3): dominating or material influence, or an arrangement."""
    return _any(
        (
            _truth(look, f"{party}.contract_control"),
            _not(_is(look, f"{party}.influence", "none")),
        )
    )


def takes_part(look: Lookup, party: str) -> bool | None:
    """Whether a party counts among those a request serves.

    Whoever asks, benefits or operates the place where data lie does. NHC questions and answers of
    March 2025: a recipient or sponsor that only supplies EDC, or only funds, and has no access to the
    data needs no cooperation approval. Before them every party counted.
    """
    present = _truth(look, f"{party}.present")
    if present is False or party not in BYSTANDERS:
        return present
    if _truth(look, f"{party}.has_access") is True:
        return present
    role = look(f"{party}.role")
    bystander = None if role is None else role in {"edc_only", "funder_only"}
    without_access = _not(_truth(look, f"{party}.has_access")) if bystander is not False else False
    return _all((present, _not(_all((bystander, without_access, _since(look, EDC_ANSWER))))))


def _domestic_body(look: Lookup, party: str) -> Iterable[bool | None]:
    """The gates before any question about a party's shareholders: it counts, and is not a person."""
    yield _is(look, f"{party}.country", MAINLAND)
    yield _truth(look, f"{party}.takes_part")
    yield _not(_truth(look, f"{party}.individual"))


def share_methods_differ(look: Lookup, party: str) -> bool | None:
    """Whether multiplying a chain of holdings and following control disagree about one half.

    Implementing Rules art. 12(1) says "indirectly" and not how (law.md §10 no. 3): the party counts
    as foreign, and a person looks at it.
    """
    product, chain = (f"{party}.foreign_share_{method}" for method in ("product", "chain"))

    def differ() -> Iterable[bool | None]:
        yield from _domestic_body(look, party)
        halves = (_at_half(look, product), _at_half(look, chain))
        yield None if None in halves else halves[0] is not halves[1]

    return _all(differ())


def control_unproven(look: Lookup, party: str) -> bool | None:
    """Whether only influence or an arrangement makes a party foreign, which wants proof.

    Implementing Rules art. 12(2) and (3); no half of shares or votes settles it.
    """

    def unproven() -> Iterable[bool | None]:
        yield from _domestic_body(look, party)
        yield _dominated(look, party)
        yield _not(_held_by_half(look, party))

    return _all(unproven())


def hkmo_undetermined(look: Lookup, party: str) -> bool | None:
    """Whether a Hong Kong or Macau entity claims mainland control and no officers have judged it.

    Implementing Rules art. 11. No determination on record is a fact in itself: never None for it.
    """

    def undetermined() -> Iterable[bool | None]:
        country = look(f"{party}.country")
        yield None if country is None else country in {"HK", "MO"}
        yield _truth(look, f"{party}.takes_part")
        yield _truth(look, f"{party}.hkmo_entity")
        yield _truth(look, f"{party}.mainland_controlled")
        yield _since(look, IMPLEMENTING_RULES)
        yield look(f"{party}.determined_chinese") is None

    return _all(undetermined())


def foreign_individual(look: Lookup) -> bool | None:
    """Whether a foreign individual uses it in a personal capacity.

    Biosecurity Law arts. 56(4) and 57 name individuals; a foreign employee acting for a Chinese unit
    is that unit.
    """

    def gates() -> Iterable[bool | None]:
        yield _truth(look, "users.individual_capacity")
        yield _outside(look, "users.nationalities", frozenset({MAINLAND}))

    return _all(gates())


def foreign_party_access(look: Lookup) -> bool | None:
    """Whether any foreign party or individual takes part in the use.

    Biosecurity Law arts. 56 and 57. The test looks through a contract laboratory to its sponsor and
    beneficiary, and at the operator of the hosting environment.
    """

    def each() -> Iterable[bool | None]:
        for party in PARTIES:
            yield _all(_truth(look, f"{party}.{word}") for word in ("foreign", "takes_part"))
        yield _truth(look, "users.foreign_individual")

    return _any(each())


def any_foreign(look: Lookup) -> bool | None:
    """Whether it is provided or opened to foreign parties: Biosecurity Law art. 57.

    Open access lets foreigners reach it, so it is foreign provision whoever asks.
    """

    def either() -> Iterable[bool | None]:
        yield _is(look, "request.action", "open_access")
        yield _truth(look, "foreign_party_access")

    return _any(either())


#: The acts that hand what the bank holds to somebody; asking for nothing under one is a mistake.
PROVIDING = frozenset(
    {
        "release",
        "open_access",
        "deposit_repository",
        "teaching",
        "method_validation",
        "insurer_or_employer",
        "ai_training",
        "model_export",
        "bank_transfer",
    }
)


def provides(look: Lookup) -> bool | None:
    """Whether what is asked for provides (提供) what the bank holds: Regulations art. 9."""
    action = look("request.action")
    return None if action is None else action in PROVIDING


# ---- borders -----------------------------------------------------------------------------------


def crosses_border_information(look: Lookup) -> bool | None:
    """Whether information leaves the mainland: stored, sent, or reached from outside.

    PIPL art. 38. About place, not ownership: a foreign-held body in Shanghai stays inside, an
    entity in Hong Kong is outside even where HGR law takes it for Chinese.
    """

    def ways_out() -> Iterable[bool | None]:
        yield _is(look, "request.action", "open_access")
        yield _outside(look, "users.access_countries", frozenset({MAINLAND}))
        # Data lie somewhere whether or not anybody is named as operating the place.
        hosted = look("host.place") is not None or _truth(look, "host.present")
        yield _not(_is(look, "host.place", MAINLAND)) if hosted else hosted
        for party in PARTIES:
            abroad = _not(_is(look, f"{party}.country", MAINLAND))
            yield abroad if abroad is False else _all((_truth(look, f"{party}.takes_part"), abroad))

    return _any(ways_out())


def crosses_border_material(look: Lookup) -> bool | None:
    """Whether material leaves the mainland by any means: Regulations art. 27."""
    return _truth(look, "request.material_exits")


def overseas_personal_information(look: Lookup) -> bool | None:
    """Whether personal information goes abroad, with data or with samples.

    PIPL arts. 4 and 73: only anonymised information is not personal information; de-identified is.
    """

    def gates() -> Iterable[bool | None]:
        yield _not(_is(look, "pi.form", "anonymised"))
        yield _any(_truth(look, f"crosses_border_{what}") for what in ("information", "material"))

    return _all(gates())


# ---- papers and routes -------------------------------------------------------------------------


def paper_in_force(look: Lookup, paper: str) -> bool | None:
    """Whether a paper is recorded and the release date lies within its validity, both days included.

    False for a paper that is not recorded; None when a needed date is missing.
    """

    def gates() -> Iterable[bool | None]:
        yield _truth(look, f"paper.{paper}.recorded")
        valid_from = _day(look, f"paper.{paper}.valid_from")
        yield None if valid_from is None else _since(look, valid_from)
        yield _not(_ended(look, paper))

    return _all(gates())


def paper_lapsed(look: Lookup, paper: str) -> bool | None:
    """Whether a recorded paper's last day has passed (Administrative Licensing Law art. 50)."""

    def gates() -> Iterable[bool | None]:
        yield _truth(look, f"paper.{paper}.recorded")
        yield _ended(look, paper)

    return _all(gates())


def _ended(look: Lookup, paper: str) -> bool | None:
    if look(f"paper.{paper}.open_ended") is True:
        return False
    valid_to, as_of = _day(look, f"paper.{paper}.valid_to"), _day(look, "as_of")
    return None if valid_to is None or as_of is None else valid_to < as_of


def clinical_exemption(look: Lookup) -> bool | None:
    """Whether HGR approval rules stand back: Biosecurity Law art. 56(2), Regulations art. 3(2).

    Clinical care, blood supply and the like, without any research use; banned care is not care. Who
    names a research purpose has research in mind, whatever else is said.
    """

    def gates() -> Iterable[bool | None]:
        yield _is(look, "request.purpose", CARE)
        yield _truth(look, "request.clinical_care")
        yield _not(_truth(look, "request.research_use"))
        yield _not(_truth(look, "request.banned_care"))

    return _all(gates())


def cooperation_in_force(look: Lookup) -> bool | None:
    """Whether an approved cooperation of exactly these parties is in force: Regulations art. 22(1)."""
    return _all(_truth(look, f"paper.cooperation.{word}") for word in ("in_force", "parties_match"))


def filing_route(look: Lookup) -> bool | None:
    """Whether a trial stands on its filing: Biosecurity Law art. 56(3), Regulations art. 22(2).

    A marketing trial in China, in a clinical institution, no material exiting, filed before it
    began, by these parties.
    """

    def gates() -> Iterable[bool | None]:
        for word in ("in_force", "before_start", "parties_match"):
            yield _truth(look, f"paper.filing.{word}")
        yield _truth(look, "request.trial_for_marketing")
        yield _truth(look, "request.trial_in_registered_institution")
        yield _not(_truth(look, "crosses_border_material"))

    return _all(gates())


def filing_as_named(look: Lookup) -> bool | None:
    """Whether a filed trial works where Implementing Rules art. 32 wants it.

    Collection inside the clinical institution; testing, analysis and leftovers there too, or by the
    unit in China that the protocol names.
    """
    return _all(
        _truth(look, f"request.trial_{where}")
        for where in ("collected_in_institution", "tested_in_institution_or_named_unit")
    )


def agreement_complete(look: Lookup) -> bool | None:
    """Whether a signed agreement settles the matters of Regulations art. 24 (art. 25)."""

    def gates() -> Iterable[bool | None]:
        yield _truth(look, "request.agreement_signed")
        clauses = _members(look, "request.agreement_clauses")
        yield None if clauses is None else clauses >= STATUTORY_CLAUSES

    return _all(gates())


def agreement_bans_onward(look: Lookup) -> bool | None:
    """Whether a signed agreement bans onward transfer: Biosecurity Law art. 57, Regulations art. 24."""

    def gates() -> Iterable[bool | None]:
        yield _truth(look, "request.agreement_signed")
        clauses = _members(look, "request.agreement_clauses")
        yield None if clauses is None else "no_onward" in clauses

    return _all(gates())


def collection_licensed(look: Lookup) -> bool | None:
    """Whether collecting is licensed: Regulations art. 11.

    Implementing Rules art. 29 and the answers of 2023 (1.3): a preservation or cooperation licence, or
    a filing, stands in for a collection licence.
    """
    return _any(
        _truth(look, f"paper.{kind}.in_force")
        for kind in ("collection", "preservation", "cooperation", "filing")
    )


def international_covered(look: Lookup) -> bool | None:
    """Whether information needs no prior report and no backup of its own.

    Regulations art. 28(3), Implementing Rules art. 36: produced in an approved or filed cooperation
    whose agreement lets both sides use it; opening it to everybody is another matter. The article
    does not name the security review.
    """

    def gates() -> Iterable[bool | None]:
        yield _since(look, IMPLEMENTING_RULES)
        yield _not(_is(look, "request.action", "open_access"))
        yield _any(_truth(look, name) for name in ("cooperation_in_force", "filing_route"))
        yield _truth(look, "request.produced_in_cooperation")
        yield _truth(look, "request.agreement_signed")
        clauses = _members(look, "request.agreement_clauses")
        yield None if clauses is None else "data_use_both" in clauses

    return _all(gates())


# ---- the selection -----------------------------------------------------------------------------


def hgr_used(look: Lookup) -> bool | None:
    """Whether anything selected is human genetic resources: Regulations art. 2."""
    return _any(_truth(look, f"selection.has_hgr_{what}") for what in ("material", "information"))


def cooperation_needed(look: Lookup) -> bool | None:
    """Whether the use is international research cooperation, which needs approval or filing.

    Regulations art. 21: a foreign party that "needs to use China's HGR for scientific research"
    works with a Chinese party; art. 22 asks approval for it. Material always counts. Information
    that is handed over for another end than research is provision under Biosecurity Law art. 57;
    saying so is not enough where the purpose named is research.
    """

    def gates() -> Iterable[bool | None]:
        yield _truth(look, "foreign_party_access")
        yield _not(_truth(look, "clinical_exemption"))
        yield _any(used())

    def used() -> Iterable[bool | None]:
        yield _truth(look, "selection.has_hgr_material")
        yield _all((_truth(look, "selection.has_hgr_information"), _any(research())))

    def research() -> Iterable[bool | None]:
        yield _truth(look, "request.research_use")
        yield _not(_is(look, "request.purpose", CARE))

    return _all(gates())


def cooperation_overrun(look: Lookup) -> str | None:
    """By what share of the approved quantity a cooperation would be exceeded; "0/1" if it would not.

    Implementing Rules arts. 46 and 47, counted over all releases: of what the licence counts (people,
    units) the greater share. One that counts nothing leaves it open.
    """
    shares: list[Fraction] = []
    for measure in sorted(_members(look, "paper.cooperation.counts") or ()):
        total = _number(look, f"paper.cooperation.{measure}_total")
        left = _number(look, f"paper.cooperation.{measure}_left")
        asked = _number(look, f"selection.{measure}")
        if total is None or left is None or asked is None:
            return None
        over = max(asked - left, 0)
        # What approves nothing is exceeded whole by anything.
        shares.append(Fraction(over, total) if total else Fraction(min(over, 1)))
    if not shares:
        return None
    most = max(shares)
    return f"{most.numerator}/{most.denominator}"


def pi_people_total(look: Lookup) -> int | None:
    """People whose personal information goes abroad this year, this release included.

    CAC Provisions of 2024 arts. 7 and 8, counted from 1 January. People of this release who were
    counted before are counted again: the stricter figure.
    """
    before, people = _number(look, "pi.people_before"), _number(look, "selection.people")
    return None if before is None or people is None else before + people


# ---- the strata --------------------------------------------------------------------------------


def hgr_material(look: Lookup) -> bool | None:
    """Whether items are HGR material: Regulations art. 2 and the 2023 guide.

    Anything with cells is. Extracted DNA or RNA has no cells but carries the genome: it is
    ("等遗传材料", law.md). Fluids without cells are not, since the guide; before it that was open.
    Since the NHC answers of January 2025 xenografts of cell lines (CDX) and immortalised lines that
    are anonymised and untraceable are not; patient-derived xenografts (PDX) are. A blank matrix is
    judged by its cells.
    """
    item_class = look("item.class")
    if item_class != "material":
        return None if item_class is None else False
    genetic = _any(
        _truth(look, f"item.{word}") for word in ("contains_cells", "extracted_nucleic_acid")
    )
    if genetic is False:
        return None if _since(look, IMPLEMENTING_RULES) is not True else False

    def out() -> Iterable[bool | None]:
        yield _since(look, CELL_LINE_ANSWERS)
        yield _any(lines())

    def lines() -> Iterable[bool | None]:
        yield _is(look, "item.derived", "CDX")
        immortalised = _is(look, "item.derived", "immortalised")
        yield (
            immortalised
            if immortalised is False
            else _all((immortalised, _truth(look, "item.anonymised_untraceable")))
        )

    return _all((genetic, _not(_all(out()))))


def hgr_information(look: Lookup) -> bool | None:
    """Whether data are HGR information: Regulations art. 2, Implementing Rules art. 2.

    Sequence data are; clinical, imaging, protein and metabolic data are not, unless linked to
    genomic data in the same release (2023 guide). Before the Rules the broad words of the
    Regulations left that open. Whether aggregate statistics are is open still (law.md §10 no. 8).
    """
    item_class, data_class = look("item.class"), look("item.data_class")
    if item_class != "information":
        return None if item_class is None else False
    if data_class is None or data_class == "aggregate":
        return None
    if data_class in SEQUENCE_CLASSES:
        return True
    linked = _truth(look, "item.linked_genomic")
    return linked if linked or _since(look, IMPLEMENTING_RULES) else None


def drafted_information(look: Lookup) -> bool | None:
    """The same as the draft Rules of 2026-05-08 would have it: sequence data alone, linked or not.

    NOTE: not law; only that draft names it. Reported: clinical, imaging, protein and metabolic data are
    expressly out. What it makes of aggregates was not read, so they stay open.
    """
    item_class, data_class = look("item.class"), look("item.data_class")
    if item_class != "information":
        return None if item_class is None else False
    return None if data_class in {None, "aggregate"} else data_class in SEQUENCE_CLASSES


def told_all_six(look: Lookup) -> bool | None:
    """Whether the donor was told the six things of Regulations art. 12; None for an unmapped form."""
    told = _members(look, "profile.told")
    if look("profile.mapped") is not True or told is None:
        return None
    return told >= frozenset(str(item) for item in Told)


def _per(
    words: Iterable[str], name: str, judge: Callable[[Lookup, str], Value | None]
) -> dict[str, Function]:
    return {f"{name}.{word}": partial(_judged, judge, word) for word in words}


def _judged(judge: Callable[[Lookup, str], Value | None], word: str, look: Lookup) -> Value | None:
    return judge(look, word)


#: Every function by the name that vocabulary.yaml calls it by.
DERIVED: Mapping[str, Function] = {
    **_per(PARTIES, "foreign_party", foreign_party),
    **_per(PARTIES, "foreign_by_share", foreign_by_share),
    **_per(PARTIES, "takes_part", takes_part),
    **_per(PARTIES, "share_methods_differ", share_methods_differ),
    **_per(PARTIES, "control_unproven", control_unproven),
    **_per(PARTIES, "hkmo_undetermined", hkmo_undetermined),
    **_per(PAPERS, "paper_in_force", paper_in_force),
    **_per(PAPERS, "paper_lapsed", paper_lapsed),
    "foreign_individual": foreign_individual,
    "foreign_party_access": foreign_party_access,
    "any_foreign": any_foreign,
    "provides": provides,
    "crosses_border_information": crosses_border_information,
    "crosses_border_material": crosses_border_material,
    "overseas_personal_information": overseas_personal_information,
    "clinical_exemption": clinical_exemption,
    "cooperation_in_force": cooperation_in_force,
    "filing_route": filing_route,
    "filing_as_named": filing_as_named,
    "agreement_complete": agreement_complete,
    "agreement_bans_onward": agreement_bans_onward,
    "collection_licensed": collection_licensed,
    "international_covered": international_covered,
    "hgr_used": hgr_used,
    "cooperation_needed": cooperation_needed,
    "cooperation_overrun": cooperation_overrun,
    "pi_people_total": pi_people_total,
    "hgr_material": hgr_material,
    "hgr_information": hgr_information,
    "drafted_information": drafted_information,
    "told_all_six": told_all_six,
}
