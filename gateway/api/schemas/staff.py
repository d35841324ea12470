"""What the bank's people send and get: officers, administrators, auditors and regulators."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from audit.merkle import leaf_hash
from gateway.api.schemas.parts import Asked, Id, Instant, Reason, Sha256, Shape, Words
from gateway.api.schemas.registry import ChangedOut, ReachOut
from gateway.api.schemas.researcher import DecisionOut
from gateway.review.workflow import Command, Recommendation

Text = Annotated[str, Field(min_length=1, max_length=4000)]

KeyScope = Literal[
    "samples:query",
    "requests:read",
    "requests:write",
    "grants:read",
    "releases:read",
    "releases:write",
    "keys:self",
]


# --- sessions, keys, people ------------------------------------------------------------------------


class AskedSession(Asked):
    """Both factors."""

    login: Annotated[str, Field(min_length=1, max_length=64)]
    password: Annotated[str, Field(min_length=1, max_length=128)]
    code: Annotated[str, Field(pattern=r"^[0-9]{6}$", description="from the code generator")]


class SessionOut(Shape):
    """A session; `token` is shown here and nowhere else."""

    object: Literal["session"] = "session"
    id: str
    token: str
    person: str
    roles: list[str]
    expires_at: Instant


class AskedKey(Asked):
    """A new API key of one organisation. `networks` are CIDR; none means from anywhere."""

    party: Id
    label: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: list[KeyScope] = Field(min_length=1, max_length=7)
    expires_at: Instant
    networks: list[Annotated[str, Field(max_length=50)]] = Field(
        default_factory=list, max_length=50
    )


class AskedRotation(Asked):
    """How long the old key keeps working."""

    overlap_hours: Annotated[int, Field(ge=0, le=720)] = 24


class AskedRevocation(Asked):
    """Why the key ends."""

    reason: Annotated[str, Field(min_length=1, max_length=4000)]


class KeyOut(Shape):
    """An API key, without what would let anybody use it."""

    object: Literal["api_key"] = "api_key"
    id: str
    party: str
    label: str
    scopes: list[str]
    networks: list[str]
    created_by: str
    created_at: Instant
    expires_at: Instant
    last_used_at: Instant | None
    rotated_from: str | None
    revoked_at: Instant | None
    revoked_reason: str


class MintedOut(KeyOut):
    """A new key: `key` is its text, shown here and nowhere else."""

    key: str


class KeysOut(Shape):
    """Keys of one organisation, newest first."""

    data: list[KeyOut]


class AskedPerson(Asked):
    """A person who will sign in."""

    login: Annotated[str, Field(min_length=3, max_length=64)]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    party: Id
    roles: list[Literal["officer", "administrator", "auditor", "regulator"]] = Field(
        min_length=1, max_length=4
    )
    password: Annotated[str, Field(min_length=12, max_length=128)]


class PersonOut(Shape):
    """A new person; the secret of their code generator is shown here and nowhere else."""

    object: Literal["person"] = "person"
    id: str
    totp_secret: str
    totp_uri: str


# --- the review queue, donors, handing over --------------------------------------------------------


class AskedCommand(Asked):
    """One command on a case. What a command needs beside its name, `workflow.yaml` says.

    `dispositions`: for each open finding of a referred request, by rule id, the officer's reason.
    """

    command: Literal["recommend", "concur", "return", "redecide"]
    reason: Annotated[str, Field(max_length=4000)] = ""
    recommendation: Literal["approve", "reject"] | None = None
    dispositions: dict[str, Text] = Field(default_factory=dict, max_length=200)

    def named(self) -> tuple[Command, Recommendation | None]:
        """Command and recommendation as the review room names them."""
        wanted = Recommendation(self.recommendation) if self.recommendation else None
        return Command(self.command), wanted


class CaseLineOut(Shape):
    """One line of the queue."""

    id: str
    request: str
    decision: str
    state: str
    revision: int
    opened_at: Instant
    updated_at: Instant


class EventOut(Shape):
    """What happened to a case; `leaf_index` is its place in the log."""

    n: int
    event: str
    from_state: str | None
    to_state: str
    person: str | None
    reason: str
    data: dict[str, Any]
    leaf_index: int | None
    at: Instant


class BoundOut(Shape):
    """A rule that speaks from so many people on; `left` before it does, below nought where it does."""

    no: str
    rule: str
    least: int
    left: int | None


class CounterOut(Shape):
    """One counter before and with this request; null is unknown. `group` and `project`: over what it counts."""

    counter: str = Field(examples=["selection.genome_people_total"])
    says: Words
    way: str | None = Field(examples=["recipient-project"])
    group: str | None
    project: str | None
    year: int | None
    before: int | None
    before_by_class: dict[str, int] | None = Field(examples=[{"exome": 3, "genome": 12}])
    after: int | None
    bounds: list[BoundOut]


class QuotaLeftOut(Shape):
    """One quota of a paper that this request uses; `left` null while what was drawn before is unknown."""

    paper: str
    kind: str
    measure: str
    total: int
    reserved: int
    consumed: int
    left: int | None


class HeadroomOut(Shape):
    """What counters and quotas come to with this request, as of today. Never for an applicant."""

    as_of: date
    counters: list[CounterOut]
    quotas: list[QuotaLeftOut]
    text: Words


class CaseOut(CaseLineOut):
    """One case: its history, what can be done now, what must be disposed of, the decision."""

    object: Literal["case"] = "case"
    commands: list[str] = Field(description="what the state allows, whoever may ask it")
    dispose: list[str] = Field(description="rules that need a reason each before approving")
    blocked: list[str] = Field(description="rules no officer can pass")
    ask: dict[str, Any] = Field(description="what the request says, as it was submitted")
    datasets: list[str] = Field(
        description="digests of the data sets asked for, as a report or backup receipt must name them"
    )
    events: list[EventOut]
    headroom: HeadroomOut | None = Field(
        description="null where what the request names does not fit together any more"
    )
    evaluation: DecisionOut


class CommandOut(Shape):
    """What a command did."""

    object: Literal["case_event"] = "case_event"
    case: str
    state: str
    event: str
    revision: int
    leaf_index: int
    grant: str | None
    evaluation: DecisionOut | None


class AskedWithdrawal(Asked):
    """A donor takes consent back: from everything, one study, data, material or contact."""

    scope: Literal["everything", "study", "data", "material", "contact"]
    project: Id | None = Field(default=None, description="with scope `study`, and only then")
    effective_at: Instant | None = Field(
        default=None, description="when the donor said so; now if left out, never later"
    )
    channel: Annotated[str, Field(min_length=1, max_length=200, examples=["书面", "电话"])]


class TouchedOut(Shape):
    """A live grant the withdrawal cuts down: how many of its items go, how many are left."""

    grant: str
    party: str
    project: str
    items: int
    left: int


class ReceiverOut(Shape):
    """Who already received something of this donor and must be told."""

    release: str
    party: str


class WithdrawalOut(Shape):
    """What a withdrawal reaches, or for a preview would reach (then without id and leaf)."""

    object: Literal["withdrawal"] = "withdrawal"
    id: str | None
    leaf_index: int | None
    grants: list[TouchedOut]
    receivers: list[ReceiverOut]


class PickOut(Shape):
    """One tube or file to fetch: the bank's code, the manifest's, and whether it must stay."""

    code: str
    item: str
    kind: str
    units: int
    sha256: str | None
    withheld: bool


class PickListOut(Shape):
    """What to fetch for a release."""

    object: Literal["pick_list"] = "pick_list"
    data: list[PickOut]


class AskedHandover(Asked):
    """What was scanned as it left: the bank's tube codes, and for each data item its SHA-256.

    Everything the release names and nothing else; a difference is refused, place by place.
    """

    how: Literal["courier", "picked_up", "encrypted_disk", "encrypted_transfer", "secure_workspace"]
    tubes: list[Id] = Field(default_factory=list, max_length=100_000)
    files: dict[Id, Sha256] = Field(default_factory=dict, max_length=100_000)


# --- supervision -----------------------------------------------------------------------------------


class EntryOut(Shape):
    """One entry of the log: its place, its hash, and what the leaf says."""

    index: int
    leaf_hash: str = Field(description="SHA-256 of the leaf (RFC 6962), hex")
    leaf: dict[str, Any]

    @classmethod
    def of(cls, index: int, leaf: bytes) -> Self:
        """From the leaf's stored bytes."""
        return cls(index=index, leaf_hash=leaf_hash(leaf).hex(), leaf=json.loads(leaf))


class EntriesOut(Shape):
    """Some entries in order; `size` is that of the whole log."""

    origin: str
    size: int
    data: list[EntryOut]
    has_more: bool


class ExportOut(Shape):
    """One audit export: everything up to `size` entries, in a package that verifies offline."""

    object: Literal["export"] = "export"
    id: str
    asked_by: str
    size: int
    sha256: str
    bytes: int
    created_at: Instant
    package: str = Field(description="Where to download it.")


class AskedGeneration(Asked):
    """Packs that are to decide, as files laid over those in force; null leaves one out."""

    files: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,120}$")], str | None] = Field(
        min_length=1, max_length=500
    )
    reason: Reason


class GenerationOut(Shape):
    """A generation of the law: its files by digest, who proposed and who activated it."""

    object: Literal["law_generation"] = "law_generation"
    id: str
    digest: str
    files: dict[str, str]
    reason: str
    proposed_by: str
    proposed_at: Instant
    activated_by: str | None
    activated_at: Instant | None
    in_force: bool


class GenerationsOut(Shape):
    """All generations, oldest first."""

    data: list[GenerationOut]


class ImpactOut(Shape):
    """What a generation of the law would change: looked at and changed, by kind, outcome and rule.

    `undecidable` are cases and grants whose request names what does not fit together any more.
    """

    object: Literal["impact"] = "impact"
    generation: str
    looked_at: dict[str, int]
    by_outcome: dict[str, dict[str, int]]
    by_rule: dict[str, dict[str, int]]
    changed: list[ChangedOut]
    undecidable: list[str]


class ActivatedOut(Shape):
    """A generation that decides from here on, and the live grants decided again by it."""

    object: Literal["activation"] = "activation"
    generation: str
    digest: str
    leaf_index: int
    reach: ReachOut
