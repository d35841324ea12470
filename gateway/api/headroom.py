"""What counters and quotas come to with a request, for whoever judges it: figures and plain words.

Never for an applicant: no answer says how many may still go, and no advice suggests it (design §5).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from gateway import deciding
from gateway.api.schemas.parts import Words
from gateway.api.schemas.staff import BoundOut, CounterOut, HeadroomOut, QuotaLeftOut
from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.registry import counters, papers
from gateway.registry.facts import Gathered
from gateway.registry.requests import Request
from gateway.settings import Counting
from policies import headroom
from policies.headroom import Room

#: Over what the 500 are counted, for a group and a project.
_OVER = {
    Counting.RECIPIENT_PROJECT: (
        "接收方控制集团 {group} 在项目 {project} 中所得",
        "what the control group of `{group}` gets in `{project}`",
    ),
    Counting.RECIPIENT: (
        "接收方控制集团 {group} 在所有项目中所得",
        "what the control group of `{group}` gets in all projects",
    ),
    Counting.PROJECT: ("项目 {project} 所有接收方所得", "what all recipients of `{project}` get"),
    Counting.TRANSFER: ("仅本次提供", "this release alone"),
}
_GENOMES = "selection.genome_people_total"


def of_request(conn: Connection, bank: Bank, request: Request) -> HeadroomOut | None:
    """Counters and quotas as of today, this request in them; None where it names what does not fit together.

    Decided anew as a release or approval would be, and not recorded.
    """
    try:
        prepared = deciding.prepare(conn, bank, request.ask, request.party_id, held_by=request.id)
    except ProblemError:
        return None
    gathered = prepared.gathered
    _, law = bank.laws.in_force(conn)
    told = [
        _counter(conn, bank, gathered, request.project_id, room)
        for room in headroom.rooms(prepared.question, law)
    ]
    quotas = list(_quotas(conn, gathered))
    return HeadroomOut(
        as_of=prepared.question.as_of,
        counters=told,
        quotas=quotas,
        text=Words(
            zh="".join(f"{line}\n" for line in _zh(told, quotas)),
            en="".join(f"{line}\n" for line in _en(told, quotas)),
        ),
    )


def _counter(
    conn: Connection, bank: Bank, gathered: Gathered, project_id: str, room: Room
) -> CounterOut:
    fact = bank.law.vocabulary.facts[room.fact]
    genomes, way = room.fact == _GENOMES, gathered.counted.way
    by_group = genomes and way in {Counting.RECIPIENT_PROJECT, Counting.RECIPIENT}
    by_project = genomes and way in {Counting.RECIPIENT_PROJECT, Counting.PROJECT}
    return CounterOut(
        counter=room.fact,
        says=Words(zh=fact.says["zh"], en=fact.says["en"]),
        way=way.value if genomes else None,
        group=gathered.recipient.group_id if by_group else None,
        project=project_id if by_project else None,
        year=None if genomes else gathered.question.as_of.year,
        before=room.before,
        before_by_class=counters.by_class(conn, gathered.counted) if genomes else None,
        after=room.after,
        bounds=[
            BoundOut(no=one.no, rule=one.rule, least=one.least, left=room.left(one))
            for one in room.bounds
        ],
    )


def _quotas(conn: Connection, gathered: Gathered) -> Iterator[QuotaLeftOut]:
    for kind, paper_id in sorted(gathered.papers.items()):
        for quota in papers.read(conn, paper_id).quotas:
            yield QuotaLeftOut(
                paper=paper_id,
                kind=kind,
                measure=quota.measure,
                total=quota.total,
                reserved=quota.reserved,
                consumed=quota.released,
                left=quota.total - quota.used if quota.opened else None,
            )


def _zh(told: list[CounterOut], quotas: list[QuotaLeftOut]) -> Iterator[str]:
    for one in told:
        before, after = _or(one.before, "未知"), _or(one.after, "未知")
        yield f"{one.says.zh}{_over(one, 0, '（{}）')}：此前 {before}，连同本次 {after}"
        if one.before_by_class:
            yield "  此前：" + "、".join(f"{k} {n}" for k, n in one.before_by_class.items())
        for bound in one.bounds:
            yield f"  [{bound.no}] 自 {bound.least} 人起适用，余 {_or(bound.left, '未知')}（{bound.rule}）"
    for each in quotas:
        yield (
            f"批准数量 {each.kind} {each.paper} {each.measure}：共 {each.total}，已预留 {each.reserved}，"
            f"已使用 {each.consumed}，余 {_or(each.left, '未知（未期初建账）')}"
        )


def _en(told: list[CounterOut], quotas: list[QuotaLeftOut]) -> Iterator[str]:
    for one in told:
        yield (
            f"{one.says.en}{_over(one, 1, ' ({})')}: before {_or(one.before, 'not known')}, with this request "
            f"{_or(one.after, 'not known')}"
        )
        if one.before_by_class:
            yield "  before: " + ", ".join(f"{k} {n}" for k, n in one.before_by_class.items())
        for bound in one.bounds:
            yield (
                f"  [{bound.no}] speaks from {bound.least} people on, left {_or(bound.left, 'not known')} "
                f"({bound.rule})"
            )
    for each in quotas:
        yield (
            f"quota of {each.kind} {each.paper}, {each.measure}: {each.total} in all, {each.reserved} reserved, "
            f"{each.consumed} consumed, {_or(each.left, 'not known (never opened)')} left"
        )


def _over(one: CounterOut, language: int, around: str) -> str:
    if one.way is None:
        return around.format(one.year)
    over = _OVER[Counting(one.way)][language]
    return around.format(over.format(group=one.group, project=one.project))


def _or(value: int | None, unknown: str) -> str:
    return unknown if value is None else str(value)
