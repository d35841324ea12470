"""The law as pages: instruments, then each rule at an address of its own that findings link to.

    /laws                           instruments with their rules in force on a day (`?on=`, today if not said),
                                    or those that speak of something (`?q=`), and the drafts, marked as such
    /laws/{instrument}/{rule}       one rule as of a day: text, condition, citation, editions, cases;
                                    as a draft has it (`?draft=` the day it was published)

The language is `?lang=`, else what `Accept-Language` weighs higher, else Chinese: the law is Chinese.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import date
from hashlib import sha256
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from gateway.api.bodies import OpenBank
from gateway.api.contract import Answer, operation
from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.identity.caller import public
from gateway.registry import generations
from policies import pack_pages, plain, printing
from policies.pack_pages import Version
from policies.rules import Rule

router = APIRouter(tags=["public"], dependencies=[Depends(public())])

Language = Annotated[Literal["zh", "en"] | None, Query(description="of the page")]
#: A form whose day was cleared sends it empty.
On = Annotated[
    date | Literal[""] | None,
    Query(description="the law as of this day; today in Shanghai if not said"),
]

_templates = Environment(
    loader=PackageLoader("gateway.web"), autoescape=True, undefined=StrictUndefined
)
_STYLE = (files("gateway.web") / "templates" / "page.css").read_text("utf-8")
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
#: The page's own style sheet, by its hash, and a form that asks this gateway; no script, no frame.
_CSP = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_PAGE = Answer(says="The page", media=("text/html",))

_CONFIDENCE = {
    "high": {"zh": "高", "en": "high"},
    "medium": {"zh": "中", "en": "medium"},
    "low": {"zh": "低，待核", "en": "low, to be checked"},
}
_RESULTS = {
    "holds": {"zh": "成立", "en": "holds"},
    "does_not_hold": {"zh": "不成立", "en": "does not hold"},
    "not_applicable": {"zh": "不适用", "en": "does not apply"},
    "unknown": {"zh": "未知", "en": "unknown"},
}


@operation(
    summary="The law",
    purpose="Every instrument with its rules in force on a day, to read and print, or the rules found by "
    "number or word; drafts stand apart.",
    answers={200: _PAGE},
)
@router.get("/laws")
def read_laws(
    request: Request,
    bank: OpenBank,
    on: On = None,
    q: Annotated[
        str, Query(max_length=200, description="a rule's number, or words that it speaks of")
    ] = "",
    lang: Language = None,
) -> HTMLResponse:
    """The instruments of a day."""
    day, law = on or bank.today(), bank.law

    def wanted(rules: Sequence[Rule]) -> Sequence[Rule]:
        return pack_pages.speaking_of(rules, q)

    shelves = [
        (one, wanted(one.rules), wanted(one.ended)) for one in pack_pages.instruments(law, day)
    ]
    drafts = [(draft, wanted(draft.rules)) for draft in law.drafts if draft.in_force <= day]
    return _page(
        "laws.html",
        request,
        bank,
        day,
        lang,
        q=q,
        shelves=[shelf for shelf in shelves if not q or shelf[1] or shelf[2]],
        drafts=[shelf for shelf in drafts if shelf[1]],
    )


@operation(
    summary="One rule",
    purpose="What it says and asks, by which article, since when, and its cases; every finding links here.",
    answers={200: _PAGE},
    errors=("not_found",),
    fill={"instrument": "cn-hgr", "rule": "prior-report-needed"},
)
@router.get("/laws/{instrument}/{rule}")
def read_rule(
    request: Request,
    bank: OpenBank,
    instrument: Annotated[str, Path(pattern=r"^[a-z0-9-]{1,60}$")],
    rule: Annotated[str, Path(pattern=r"^[a-z0-9-]{1,120}$")],
    on: On = None,
    draft: Annotated[
        date | None, Query(description="as the draft published on this day has it")
    ] = None,
    lang: Language = None,
) -> HTMLResponse:
    """One rule as of a day; what it says in other editions is linked."""
    day = on or bank.today()
    with bank.database.read() as conn:
        generation, law = bank.laws.in_force(conn)
        versions = pack_pages.versions(law, instrument, rule)
        shown = _version(versions, day, draft)
        if shown is None:
            said = f" in a draft of {draft}" if draft else ""
            raise ProblemError("not_found", f"no rule `{rule}` in `{instrument}`{said}")
        kept = generations.contents(conn, generations.read(conn, generation))
    file = pack_pages.cases_file(shown.edition)
    return _page(
        "rule.html",
        request,
        bank,
        day,
        lang,
        rule=shown.rule,
        shown=shown,
        versions=versions,
        cases=[one for one in pack_pages.cases(kept[file], file) if one.rule == rule],
        facts=law.vocabulary.facts,
        read=[law.vocabulary.facts[name] for name in sorted(shown.rule.reads)],
        sources=plain.SOURCES,
        confidence=_CONFIDENCE,
        results=_RESULTS,
    )


def _version(versions: Sequence[Version], day: date, draft: date | None) -> Version | None:
    """The version to show: as a draft has it, in force on the day, else the last before or first after."""
    if draft is not None:
        return next(
            (one for one in versions if one.edition.is_draft and one.edition.in_force == draft),
            None,
        )
    law = [one for one in versions if not one.edition.is_draft]
    begun = [one for one in law if one.edition.in_force <= day]
    return begun[-1] if begun else law[0] if law else next(iter(versions), None)


def _page(
    name: str, request: Request, bank: Bank, day: date, lang: str | None, **values: Any
) -> HTMLResponse:
    accepted = "accept-language" in request.headers
    language = lang or (request.state.language if accepted else "zh")
    other = "en" if language == "zh" else "zh"

    def words(condition: Any) -> Markup:
        return _with_codes(printing.pieces(condition, bank.law, language))

    def valued(name: str, value: Any) -> Markup:
        return _with_codes(printing.value_pieces(name, value, bank.law, language))

    def cited(rule: Rule, *, since: bool = False) -> str:
        return pack_pages.cited(rule, language, since=since)

    text = _templates.get_template(name).render(
        style=Markup(_STYLE),  # noqa: S704 - our own file
        day=day,
        today=bank.today(),
        lang=language,
        zh=language == "zh",
        other=other,
        # The same page in the other language, its address without the host the client named.
        elsewhere=f"{request.url.path}?{request.url.include_query_params(lang=other).query}",
        effects=pack_pages.EFFECTS,
        follows=pack_pages.FOLLOWS,
        owners=plain.OWNERS,
        address=pack_pages.address,
        words=words,
        valued=valued,
        papers=bank.law.labels.papers,
        cited=cited,
        **values,
    )
    headers = {
        "Content-Security-Policy": _CSP,
        "Content-Language": "zh-CN" if language == "zh" else "en",
        "Vary": "Accept-Language",
    }
    return HTMLResponse(text, headers=headers)


def _with_codes(pieces: Iterable[str]) -> Markup:
    """What people call it, and beside it, small, what files and answers do."""
    return Markup().join(
        Markup(' <code class="quiet">{}</code>').format(piece)
        if isinstance(piece, printing.Code)
        else escape(piece)
        for piece in pieces
    )
