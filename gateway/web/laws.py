"""The law as pages: instruments, then each rule at an address of its own that findings link to.

    /laws                           instruments with their rules in force on a day (`?on=`, today if not said)
    /laws/{instrument}/{rule}       one rule as of a day: text, condition in words, citation, editions

The language is `?lang=`, else what `Accept-Language` weighs higher, else Chinese: the law is Chinese.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import date
from hashlib import sha256
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from gateway.api.bodies import OpenBank
from gateway.api.contract import Answer, operation
from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.identity.caller import public
from policies import pack_pages, plain, printing
from policies.rules import Rule

router = APIRouter(tags=["public"], dependencies=[Depends(public())])

Language = Annotated[Literal["zh", "en"] | None, Query(description="of the page")]
On = Annotated[
    date | None, Query(description="the law as of this day; today in Shanghai if not said")
]

_templates = Environment(
    loader=PackageLoader("gateway.web"), autoescape=True, undefined=StrictUndefined
)
_STYLE = (files("gateway.web") / "templates" / "page.css").read_text("utf-8")
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
#: The page's own style sheet, by its hash, and nothing else; no script, no frame, no form.
_CSP = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PAGE = Answer(says="The page", media=("text/html",))


@operation(
    summary="The law",
    purpose="Every instrument with its rules in force on a day, to read and print.",
    answers={200: _PAGE},
)
@router.get("/laws")
def read_laws(
    request: Request, bank: OpenBank, on: On = None, lang: Language = None
) -> HTMLResponse:
    """The instruments of a day."""
    day = on or bank.today()
    shelves = pack_pages.instruments(bank.law, day)
    return _page("laws.html", request, bank, day, lang, instruments=shelves)


@operation(
    summary="One rule",
    purpose="What it says and asks, by which article, since when; every finding links here.",
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
    lang: Language = None,
) -> HTMLResponse:
    """One rule as of a day; what it said in other editions is linked."""
    day = on or bank.today()
    editions = [
        (edition, one)
        for edition in bank.law.editions
        for one in edition.rules
        if (one.pack, one.id) == (instrument, rule)
    ]
    if not editions:
        raise ProblemError("not_found", f"no rule `{rule}` in `{instrument}`")
    found = bank.law.on(day).rule(rule)
    shown = found or max((one for _, one in editions), key=lambda one: one.edition)
    edition = next(each for each, one in editions if one.edition == shown.edition)
    return _page(
        "rule.html",
        request,
        bank,
        day,
        lang,
        rule=shown,
        in_force=found is not None,
        edition=edition,
        editions=editions,
        facts=[bank.law.vocabulary.facts[name] for name in sorted(shown.reads)],
        sources=plain.SOURCES,
    )


def _page(
    name: str, request: Request, bank: Bank, day: date, lang: str | None, **values: Any
) -> HTMLResponse:
    accepted = "accept-language" in request.headers
    language = lang or (request.state.language if accepted else "zh")

    def words(condition: Any) -> str:
        return printing.in_words(condition, bank.law.vocabulary, language)

    def cited(rule: Rule) -> str:
        return pack_pages.cited(rule, language)

    text = _templates.get_template(name).render(
        style=Markup(_STYLE),  # noqa: S704 - our own file
        day=day,
        lang=language,
        zh=language == "zh",
        other="en" if language == "zh" else "zh",
        path=request.url.path,
        effects=pack_pages.EFFECTS,
        owners=plain.OWNERS,
        address=pack_pages.address,
        words=words,
        cited=cited,
        **values,
    )
    headers = {
        "Content-Security-Policy": _CSP,
        "Content-Language": language,
        "Vary": "Accept-Language",
    }
    return HTMLResponse(text, headers=headers)
