"""`hgr packs …` and `hgr decide`: the policy author's commands.

Exit codes are those of every command (gateway/terminal.py); none of these needs a bank unless it says so.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from gateway import pep, standing
from gateway.registry import generations
from gateway.registry.generations import Generation
from gateway.replies import Rendered, Reply
from gateway.tables import SHANGHAI
from gateway.terminal import err, explained, fail, opened, out, recorded, signed_in
from policies import advice, document, pack_pages, packs, pdp, plain, plain_facts, printing, strict
from policies.decision import Decision, Deny, Effect
from policies.request import Question
from policies.rules import Law, Rule
from policies.strict import Data

packs_app = typer.Typer(no_args_is_help=True, help="规则包 · The rules, as packs.")

_PACKS = Annotated[
    Path | None,
    typer.Option("--packs", help="a directory of packs; the shipped ones if not given"),
]
_DAY = Annotated[
    str, typer.Option("--on", help="a day, YYYY-MM-DD; today in Shanghai if not given")
]
_CHECK = Annotated[
    bool, typer.Option("--check/--write", help="say whether it is current, or write it anew")
]
_DRAFT = Annotated[
    bool,
    typer.Option("--with-draft", help="also what the drafts would change; they decide nothing"),
]
_FILL_IN = "‹fact›"
#: What a running gateway takes instead of a command that writes to its bank or reads all of it.
_GENERATIONS = "GET /v1/law/generations"
_PROPOSE = "POST /v1/law/generations"
_ACTIVATE = "POST /v1/law/generations/{}:activate"
_IMPACT = "GET /v1/law/generations/{ID}/impact"
_README = Path("policies/packs/README.md")
_COVERAGE = Path("docs/law-coverage.md")


@packs_app.command("check")
def packs_check(
    given: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="as --packs says it")
    ] = None,
    directory: _PACKS = None,
) -> None:
    """检查规则包 · Every mistake in the packs and their cases, with file, line and key."""
    chosen = given or directory
    raise typer.Exit(packs.main([] if chosen is None else [str(chosen)]))


@packs_app.command("show")
def packs_show(
    wanted: Annotated[
        str, typer.Argument(help="an instrument (cn-hgr), a number (R-INF-03), an id, or words")
    ],
    directory: _PACKS = None,
    on: _DAY = "",
    *,
    with_draft: _DRAFT = False,
) -> None:
    """查看规则 · The rules in force on a day of an instrument, or that bear a number or speak of something; with what
    they ask, in both languages.
    """
    with explained():
        law, day = packs.load(directory), _day(on)
        law = _with_drafts(law) if with_draft else law
        there = {one.name: one for one in pack_pages.instruments(law, day)}
        if wanted not in there:
            rules = pack_pages.speaking_of(law.on(day).rules, wanted)
            if not rules:
                fail(
                    f"{day} 没有法规或者规则与之相符 · no instrument and no rule in force on {day} is or speaks "
                    f"of `{wanted}`; 法规有 · the instruments are: {', '.join(there) or '-'}"
                )
            for rule in rules:
                _print_rule(rule, law)
            return
        one = there[wanted]
        out.print(
            f"[bold]{one.name}[/bold] · {one.title['zh']} · {one.title['en']}", soft_wrap=True
        )
        for edition in one.editions:
            out.print(
                f"  {edition.in_force}  {edition.file}  {edition.digest[:12]}  {edition.link}"
                f"{'  未施行 · not in force' if edition.is_draft else ''}",
                soft_wrap=True,
            )
        for rule in one.rules:
            _print_rule(rule, law)


def _print_rule(rule: Rule, law: Law) -> None:
    effect = pack_pages.EFFECTS[rule.effect]
    tentative = "（内容待核 · content to be confirmed）" if rule.is_tentative else ""
    out.print(
        f"\n[bold]{rule.no}[/bold] {rule.id} · {effect['zh']} {effect['en']}{tentative} · "
        f"{rule.pack}/{rule.edition}",
        highlight=False,
        soft_wrap=True,
    )
    for language in ("zh", "en"):
        out.print(f"  {rule.says[language]}", highlight=False, soft_wrap=True)
        for key in ("applies", "when"):
            if key in rule.written:
                said = printing.in_words(rule.written[key], law, language)
                out.print(f"    {key}: {said}", highlight=False, soft_wrap=True, markup=False)
        out.print(
            f"    {pack_pages.cited(rule, language)}", highlight=False, soft_wrap=True, markup=False
        )
        if rule.fix:
            out.print(f"    → {rule.fix[language]}", highlight=False, soft_wrap=True, markup=False)


@packs_app.command("diff")
def packs_diff(
    a: Annotated[str, typer.Argument(help="a directory of packs, or a day of the shipped law")],
    b: Annotated[str, typer.Argument(help="the same; today in Shanghai if not given")] = "",
    *,
    with_draft: Annotated[
        bool, typer.Option("--with-draft", help="B as the drafts would have it; they are not law")
    ] = False,
) -> None:
    """比较 · What B changes against A, rule by rule, in both languages.

    Exits 1 if they differ.
    """
    with explained():
        old, new = _law_and_day(a), _law_and_day(b)
        if with_draft:
            new = (_with_drafts(new[0]), new[1])
        rules = [{rule.id: rule for rule in law.on(day).rules} for law, day in (old, new)]
        rows = list(pack_pages.differences(*rules))
        for line in _differing(rows, rules[0], new[0]):
            out.print(line, highlight=False, soft_wrap=True, markup=False)
        out.print(f"{len(rows)} 条规则不同 · {len(rows)} rules differ")
    raise typer.Exit(1 if rows else 0)


def _law_and_day(where: str) -> tuple[Law, date]:
    """The shipped law on a day, or all of a directory's; not a draft, which is no law."""
    try:
        return packs.load(), date.fromisoformat(where) if where else _day("")
    except ValueError:
        return packs.load(Path(where)), date.max


def _differing(
    rows: list[tuple[str, Rule, str]], old: Mapping[str, Rule], law: Law
) -> Iterator[str]:
    """Each rule with its text, and with its conditions before and after where they changed."""
    drafted = {rule for one in law.editions if one.is_draft for rule in one.rules}
    signs = {"added": "+", "gone": "-", "changed": "~"}
    for what, rule, fields in rows:
        where = f"({rule.pack}/{rule.edition})"
        draft = "征求意见稿 · draft, not law" if rule in drafted else ""
        yield " ".join(filter(None, (signs[what], f"{rule.no:9}", rule.id, where, fields, draft)))
        yield from (f"    {rule.says[language]}" for language in ("zh", "en"))
        for key in sorted({"applies", "when"} & set(fields.split(", "))):
            for language in ("zh", "en"):
                for mark, one in (("-", old[rule.id]), ("+", rule)):
                    said = one.written.get(key)
                    words = printing.in_words(said, law, language) if said else "·"
                    yield f"    {mark} {key}: {words}"
        if "cite" in fields.split(", "):
            for language in ("zh", "en"):
                for mark, one in (("-", old[rule.id]), ("+", rule)):
                    yield f"    {mark} cite: {pack_pages.cited(one, language)}"


@packs_app.command("new-rule")
def packs_new_rule(
    rule_id: Annotated[str, typer.Argument(help="its id, such as data-leave-encrypted")],
    number: Annotated[str, typer.Option("--no", help="its number, such as R-INF-08")],
    fact: Annotated[
        str, typer.Option(help="the fact of vocabulary.yaml that it looks at")
    ] = _FILL_IN,
    effect: Annotated[Effect, typer.Option(help="what it does where it holds")] = Effect.REFER,
    into: Annotated[
        Path | None, typer.Option(help="the edition's file; only shown if not given")
    ] = None,
    on: _DAY = "",
) -> None:
    """新建规则 · Begin a rule and its three cases: `packs check` then names everything that is left to fill in.

    A file that is not there yet is begun as an edition of that day of the instrument its folder is named
    for; what was activated once is never changed.
    """
    with explained():
        vocabulary = packs.load().vocabulary
        if fact not in {*vocabulary.facts, _FILL_IN}:
            near = difflib.get_close_matches(fact, vocabulary.facts, 3)
            err.print(
                f"[yellow]![/yellow] 随产品词汇表中没有事实 · no fact of the shipped vocabulary: `{fact}`; "
                f"相近的 · near: {', '.join(near) or '-'}",
                soft_wrap=True,
                highlight=False,
            )
        day = _day(on or (into.name[:10] if into else ""))  # an edition is named by its day
        rule, cases = printing.scaffold(rule_id, number, effect, fact, vocabulary, day)
        if into is None:
            sys.stdout.write(printing.printed({"rules": [rule]}))
            sys.stdout.write(printing.printed({"cases": cases}))
            return
        beside = into.with_suffix(".cases.yaml")
        if into.exists() or beside.exists():
            longer = {into: _added(into, "rules", [rule]), beside: _added(beside, "cases", cases)}
        else:
            edition = printing.begun(into.absolute().parent.name, day, [rule])
            longer = {into: printing.printed(edition), beside: printing.printed({"cases": cases})}
        for path, text in longer.items():
            path.write_text(text, "utf-8")
            out.print(f"[green]✓[/green] {path}", soft_wrap=True)


def _added(path: Path, key: str, rows: list[Data]) -> str:
    """The text of a file with more rows at the end of its list, all else as it stands."""
    text = path.read_text("utf-8").rstrip()
    more = printing.printed({key: rows})
    empty = f"{key}: []"
    longer = text.removesuffix(empty) + more
    if not text.endswith(f"\n{empty}"):
        longer = f"{text}\n\n{more.split(chr(10), 1)[1]}"
    try:
        read: Any = strict.load(longer.encode(), str(path)).data
        stands = read[key][-len(rows) :] == rows
    except (strict.StrictError, TypeError, KeyError):
        stands = False
    if not stands:
        fail(f"{path}: `{key}` 须为文件末尾的列表 · must be a list at the end of the file")
    return longer


@packs_app.command("readme")
def packs_readme(*, check: _CHECK = True) -> None:
    """规则目录 · policies/packs/README.md, generated from the packs."""
    with explained():
        _keep(_README, pack_pages.readme(packs.load()), check=check)


@packs_app.command("coverage")
def packs_coverage(*, check: _CHECK = True) -> None:
    """覆盖情况 · docs/law-coverage.md: every number of the law with its rules, editions, cases, confidence.

    Exits 1 if a number has no rule.
    """
    with explained():
        law = packs.load()
        _keep(_COVERAGE, pack_pages.coverage(law), check=check)
        lacking = pack_pages.missing(law)
        if lacking:
            out.print(f"[red]✗[/red] no rule for · 缺少规则: {', '.join(lacking)}")
            raise typer.Exit(1)


def _keep(path: Path, text: str, *, check: bool) -> None:
    if not check:
        path.write_text(text, "utf-8")
        out.print(f"[green]✓[/green] {path}")
    elif not path.is_file() or path.read_text("utf-8") != text:
        out.print(
            f"[red]✗[/red] {path} 与规则包不一致 · is not what the packs give; write it with --write",
            soft_wrap=True,
        )
        raise typer.Exit(1)


# --- decide ---------------------------------------------------------------------------------------


def decide(
    facts: Annotated[Path, typer.Argument(help="YAML: names of vocabulary.yaml to values")],
    on: _DAY = "",
    directory: Annotated[Path | None, typer.Option("--from", help="a directory of packs")] = None,
    *,
    only: Annotated[
        str,
        typer.Option(
            "--packs", help="instruments to use, such as cn-hgr,cn-pipl; all if not given"
        ),
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="the decision document, and ways out")
    ] = False,
    ways: Annotated[
        bool, typer.Option("--ways/--no-ways", help="look for what would permit it")
    ] = True,
    with_draft: _DRAFT = False,
) -> None:
    """判定手写的事实 · Decide facts written by hand, without a bank; explains in Chinese and English.

    Exits 1 if it is denied.
    """
    with explained():
        law = _only(packs.load(directory), only)
        question = plain_facts.read(facts.read_bytes(), facts.name, law.vocabulary, on=_day(on))
        decision = pdp.decide(question, law)
        found = advice.advise(question, law) if ways else ()
        drafted = _drafted(decision, question, law) if with_draft else None
        if as_json:
            _write_json(document.encode(question, decision), found, drafted)
        else:
            texts = plain.answer(decision, law.vocabulary, as_of=question.as_of)
            for language in ("zh", "en"):
                out.print(texts[language], highlight=False, soft_wrap=True, markup=False)
                for number, way in enumerate(found, 1):
                    out.print(
                        _way(number, way, language), highlight=False, soft_wrap=True, markup=False
                    )
            if drafted is not None:
                _print_drafted(decision, drafted)
    raise typer.Exit(1 if isinstance(decision, Deny) else 0)


def _with_drafts(law: Law) -> Law:
    if not law.drafts:
        fail("there is no draft among the packs")
    return law.with_drafts()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drafted:
    """What the drafts would change of a decision: to be looked at, never recorded.

    `rules` say something else than in force, as number and id.
    """

    drafts: tuple[str, ...]
    outcome: str
    people: int
    rules: tuple[tuple[str, str], ...]


def _drafted(decision: Decision, question: Question, law: Law) -> _Drafted:
    other = pdp.decide(question, _with_drafts(law))
    said = standing.said(decision) ^ standing.said(other)
    return _Drafted(
        drafts=tuple(one.file for one in law.drafts if one.in_force <= question.as_of),
        outcome=other.outcome,
        people=other.selection.permitted.people,
        rules=tuple(sorted({(no, rule) for no, rule, *_ in said})),
    )


def _print_drafted(decision: Decision, drafted: _Drafted) -> None:
    if not drafted.drafts:
        out.print("该日尚无征求意见稿 · no draft had been published by that day")
        return
    before, after = (
        " ".join(plain.OUTCOMES[one][language] for language in ("zh", "en"))
        for one in (decision.outcome, drafted.outcome)
    )
    people = f"{decision.selection.permitted.people} → {drafted.people}"
    files = ", ".join(drafted.drafts)
    for line in (
        "若征求意见稿按原文施行（并非法律，不据以判定）",
        f"If the draft were issued as it stands (it is not law and decides nothing): {files}",
        f"  结论 · outcome: {before} → {after}",
        f"  可提供人数 · people who may go: {people}",
        *(f"  [{no}] {rule}: 说法不同 · says something else" for no, rule in drafted.rules),
    ):
        out.print(line, highlight=False, soft_wrap=True, markup=False)


def _way(number: int, way: advice.Way, language: str) -> str:
    outcome = plain.OUTCOMES[way.outcome][language]
    head = {
        "zh": f"途径 {number}（经重新判定：{outcome}）",
        "en": f"Way {number} (decided again: {outcome})",
    }
    return "\n".join([head[language], *(f"  - {move.says[language]}" for move in way.moves), ""])


def _write_json(body: bytes, found: tuple[advice.Way, ...], drafted: _Drafted | None) -> None:
    answer: dict[str, Any] = json.loads(body)
    answer["ways"] = [
        {
            "outcome": way.outcome,
            "people": way.people,
            "moves": [{"kind": m.kind, "fact": m.fact, "says": dict(m.says)} for m in way.moves],
        }
        for way in found
    ]
    if drafted is not None:
        answer["with_draft"] = asdict(drafted)
    sys.stdout.write(json.dumps(answer, ensure_ascii=False, indent=1) + "\n")


def _only(law: Law, names: str) -> Law:
    """The law with the named instruments alone."""
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    unknown = wanted - {edition.pack for edition in law.editions}
    if unknown:
        there = ", ".join(sorted({edition.pack for edition in law.editions}))
        fail(f"没有法规 · no instrument `{', '.join(sorted(unknown))}`; 有 · there are: {there}")
    if not wanted:
        return law
    kept = [edition for edition in law.editions if edition.pack in wanted]
    drafts = [draft for draft in law.drafts if draft.pack in wanted]
    return Law(law.vocabulary, kept, law.digests, drafts, law.labels)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text) if text else datetime.now(UTC).astimezone(SHANGHAI).date()
    except ValueError:
        fail(f"`{text}` 不是日期 · `{text}` is no day; write YYYY-MM-DD")


# --- what the bank decides by -----------------------------------------------------------------------


@packs_app.command("propose")
def packs_propose(
    directory: Annotated[Path, typer.Argument(help="a whole directory of packs")],
    *,
    login: Annotated[str, typer.Option(help="of the first person")],
    reason: Annotated[str, typer.Option(help="why; it stays with them")],
) -> None:
    """第一人提出 · The first person's word: these packs are to decide (not while the bank is being served)."""
    with explained():
        packs_ = generations.checked(packs.read_all(directory))
    with opened(_PROPOSE) as bank, signed_in(bank, login) as caller:

        def propose(conn: Connection) -> Generation:
            return generations.propose(
                conn, packs_, reason=reason, person_id=caller.id, now=bank.now()
            )

        made: Generation = recorded(bank, "law.proposed", propose, generations.named, caller)
    out.print(
        f"[green]✓[/green] 已提出，待第二人启用 · proposed, a second person activates: {made.id}"
    )


@packs_app.command("activate")
def packs_activate(
    generation: Annotated[str, typer.Argument(help="its id")],
    *,
    login: Annotated[str, typer.Option(help="of the second person")],
) -> None:
    """第二人启用 · The second person's word: from now on they decide (not while the bank is being served)."""
    kept: list[pep.Activated] = []

    def keep(done: pep.Activated) -> Rendered:
        kept.append(done)
        return Rendered(status=200, body=b"")

    with opened(_ACTIVATE.format(generation)) as bank, signed_in(bank, login) as caller:
        reply = Reply(client=caller.id, key=None, route="activate", body_hash="", render=keep)
        asyncio.run(pep.activate_law(bank, caller, generation, reply=reply))
    out.print(f"[green]✓[/green] 已启用 · in force: {generation}")
    for grant in kept[0].reach.grants:
        out.print(f"  grant {grant.grant_id} {grant.state} {grant.outcome or ''}", soft_wrap=True)


@packs_app.command("generations")
def packs_generations() -> None:
    """各代规则包 · The packs that were proposed or decided, and the files in which those on disk differ."""
    with opened(_GENERATIONS) as bank, bank.database.read() as conn:
        active, made = generations.active_id(conn), generations.listed(conn)
        differing = generations.differing(conn)
    for one in made:
        since = f"{one.activated_at:%Y-%m-%d %H:%M}Z" if one.activated_at else "待启用 · proposed"
        mark = "[green]*[/green]" if one.id == active else " "
        who = " · ".join(filter(None, (one.proposed_by, one.activated_by)))
        out.print(f"{mark} {one.id}  {since}  {who}  {one.reason}", soft_wrap=True, highlight=False)
    tell_differing(differing)


@packs_app.command("impact")
def packs_impact(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="NEW", help="a whole directory of packs; those in force if not given"
        ),
    ] = None,
    *,
    with_draft: _DRAFT = False,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """影响 · What would come out otherwise under the packs in NEW: past decisions, open cases, live grants.

    From the bank's log; nothing is recorded (not while the bank is being served). Exits 1 if anything
    would.
    """
    if directory is None and not with_draft:
        fail("name a directory of packs, or ask --with-draft")
    with explained():
        given = packs.load(directory) if directory else None
    # A running gateway never looks at drafts: there is no route for them.
    instead = () if with_draft else (_PROPOSE, _IMPACT)
    with opened(*instead) as bank, bank.database.read() as conn:
        _, law = bank.laws.in_force(conn)
        law = _with_drafts(given or law) if with_draft else given or law
        found = standing.impact(conn, bank, law)
    if as_json:
        sys.stdout.write(json.dumps(found.told(), ensure_ascii=False, indent=1) + "\n")
        raise typer.Exit(1 if found.changed else 0)
    names = {"decision": "既往判定 · past decisions", "case": "未结案件 · open cases"}
    names["grant"] = "现行授权 · live grants"
    for kind, name in names.items():
        mine = [one for one in found.changed if one.kind == kind]
        stops = sum(one.stops for one in mine)
        ends = f"，其中 {stops} 项不再成立 · of them {stops} would stand no longer" if stops else ""
        out.print(
            f"{name}: {len(mine)}/{found.looked_at[kind]} 结果不同 · come out otherwise{ends}",
            highlight=False,
            soft_wrap=True,
        )
    for title, counts in (
        ("结果 · outcomes", found.by_outcome),
        ("规则 · rules", found.by_rule),
    ):
        if counts:
            out.print(f"{title}:")
        for what, kinds in counts.items():
            many = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
            out.print(f"  {what}: {many}", highlight=False, soft_wrap=True, markup=False)
    for one in found.changed:
        if one.kind != "decision":
            out.print(
                f"  {one.kind} {one.id}: {one.before} → {one.after} ({', '.join(one.what)})",
                highlight=False,
                soft_wrap=True,
            )
    for id_ in found.undecidable:
        out.print(f"  {id_}: 无法再判定 · cannot be decided any more", soft_wrap=True)
    raise typer.Exit(1 if found.changed else 0)


def tell_differing(paths: tuple[str, ...]) -> None:
    """Say in which files the packs on disk differ from those in force."""
    if paths:
        out.print(
            f"[yellow]![/yellow] 磁盘上的规则包与现行的不同，不据以判定 · the packs on disk differ from those "
            f"in force and do not decide: {', '.join(paths)}",
            soft_wrap=True,
            highlight=False,
        )
