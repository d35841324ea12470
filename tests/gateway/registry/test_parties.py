"""Control walked with exact fractions: chains, circles, halves, and what nobody recorded."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction
from itertools import pairwise

import pytest
from sqlalchemy import Connection

from gateway.api import reads
from gateway.bank import Bank
from gateway.errors import ProblemError
from gateway.registry import determinations, parties
from gateway.registry.ownership import Equation, Ownership, least, ownership_of, path_in_words
from policies.vocabulary import Value

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DAY = date(2026, 11, 22)
Hold = tuple[str, str, str]

COUNTRIES = {"us": "US", "gb": "GB", "tw": "TW", "person": "CN"}


def register(conn: Connection, holds: list[Hold], **known: dict[str, object]) -> None:
    """Register everybody named; a name says its country, all others are mainland companies."""
    for name in sorted({name for owner, owned, _ in holds for name in (owner, owned)} | set(known)):
        parties.add_party(
            conn,
            party_id=name,
            name_zh=name,
            name_en=name,
            country=str(known.get(name, {}).pop("country", COUNTRIES.get(name, "CN"))),
            now=NOW,
            invented=True,
            **({"individual": True} if name == "person" else {}) | known.get(name, {}),
        )
    for owner, owned, share in holds:
        parties.add_edge(
            conn,
            owner_id=owner,
            owned_id=owned,
            share=Fraction(share),
            valid_from=date(2020, 1, 1),
            evidence="test",
        )


def facts(
    bank: Bank, holds: list[Hold], of: str = "x", **known: dict[str, object]
) -> dict[str, Value]:
    """The party's facts without their role."""

    def unit(conn: Connection) -> dict[str, Value]:
        register(conn, holds, **known)
        found = determinations.in_force(conn, DAY)
        said = ownership_of(conn, [of], found, as_of=DAY).facts("recipient", of)
        return {name.removeprefix("recipient."): value for name, value in said.items()}

    return bank.database.write(unit)


SHARES = [
    # name, who holds whom, product, chain; None: unknown, because of what nobody recorded
    ("wholly domestic", [("person", "x", "1/1")], "0/1", "0/1"),
    ("exactly half", [("us", "x", "1/2"), ("person", "x", "1/2")], "1/2", "1/2"),
    ("a hair below", [("us", "x", "4999/10000"), ("person", "x", "5001/10000")], "4999/10000", "4999/10000"),
    ("taiwan is foreign", [("tw", "x", "1/1")], "1/1", "1/1"),
    ("two foreigners together", [("us", "x", "1/4"), ("gb", "x", "1/4"), ("person", "x", "1/2")], "1/2", "1/2"),
    (
        "60 % of 60 %: methods differ",
        [("us", "a", "3/5"), ("person", "a", "2/5"), ("a", "x", "3/5"), ("person", "x", "2/5")],
        "9/25",
        "3/5",
    ),
    (
        "40 % of all: product only counts",
        [("us", "a", "2/5"), ("person", "a", "3/5"), ("a", "x", "1/1")],
        "2/5",
        "0/1",
    ),
    (
        "two chains summed",
        [
            ("us", "a", "1/2"), ("person", "a", "1/2"), ("gb", "b", "1/2"), ("person", "b", "1/2"),
            ("a", "x", "1/2"), ("b", "x", "1/2"),
        ],
        "1/2",
        "1/1",
    ),
    ("nobody recorded", [("a", "b", "1/1")], None, None),
    ("a third unrecorded, cannot reach half", [("person", "x", "2/3")], "1/3", "1/3"),
    ("half unrecorded", [("person", "x", "1/2")], None, None),
    ("foreign half, rest unrecorded", [("us", "x", "1/2")], "1/2", "1/2"),
    ("more than all recorded", [("person", "x", "2/3"), ("a", "x", "2/3")], None, None),
    (
        "a circle of two, foreign outside",
        [("us", "a", "1/2"), ("x", "a", "1/2"), ("a", "x", "1/1")],
        "1/1",
        "1/1",
    ),
    (
        "a circle holding mostly itself",
        [("us", "x", "1/10"), ("person", "x", "1/10"), ("x", "x", "4/5")],
        "1/2",
        "1/10",
    ),
    ("a closed circle", [("a", "x", "1/1"), ("x", "a", "1/1")], "0/1", "0/1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("holds", "product", "chain"), [row[1:] for row in SHARES], ids=[row[0] for row in SHARES]
)
def test_shares(bank: Bank, holds: list[Hold], product: str | None, chain: str | None) -> None:
    said = facts(bank, holds, x={})
    assert (said.get("foreign_share_product"), said.get("foreign_share_chain")) == (product, chain)


def test_a_chain_of_two_hundred_is_exact(bank: Bank) -> None:
    names = ["us", *(f"n{i:03}" for i in range(199)), "x"]
    holds = [(owner, owned, "99/100") for owner, owned in pairwise(names)]
    holds += [("person", owned, "1/100") for owned in names[1:]]
    said = facts(bank, holds)
    share = Fraction(99, 100) ** 200
    assert said["foreign_share_product"] == f"{share.numerator}/{share.denominator}"
    assert said["foreign_share_chain"] == "99/100"


def test_a_circle_of_two_hundred_ends(bank: Bank) -> None:
    names = [f"n{i:03}" for i in range(199)] + ["x"]
    holds = [
        (owner, owned, "1/2") for owner, owned in zip(names, names[1:] + names[:1], strict=True)
    ]
    holds += [("us", owned, "1/2") for owned in names]
    said = facts(bank, holds)
    assert (said["foreign_share_product"], said["foreign_share_chain"]) == ("1/1", "1/1")


def test_the_demo_venture_is_held_exactly_by_half(bank: Bank) -> None:
    with bank.database.read() as conn:
        held = ownership_of(conn, ["pty_cart_jv"], {}, as_of=DAY)
    said = held.facts("recipient", "pty_cart_jv")
    assert said["recipient.foreign_share_product"] == "1/2"
    assert said["recipient.foreign_share_chain"] == "1/2"
    assert said["recipient.foreign_votes"] == "1/2"
    assert held.group("pty_cart_jv") == "pty_foreign_pharma"


def test_holdings_count_only_while_they_last(bank: Bank) -> None:
    def unit(conn: Connection) -> list[object]:
        register(conn, [("person", "x", "1/2")])
        parties.add_edge(
            conn,
            owner_id="pty_foreign_pharma",
            owned_id="x",
            share=Fraction(1, 2),
            valid_from=date(2020, 1, 1),
            valid_to=date(2025, 12, 31),
            evidence="test",
        )
        parties.add_edge(
            conn, owner_id="pty_founder", owned_id="x", share=Fraction(1, 2),
            valid_from=date(2026, 1, 1), evidence="test",
        )  # fmt: skip
        return [
            ownership_of(conn, ["x"], {}, as_of=day).facts("recipient", "x")[
                "recipient.foreign_share_product"
            ]
            for day in (date(2025, 12, 31), date(2026, 1, 1))
        ]

    assert bank.database.write(unit) == ["1/2", "0/1"]


HONG_KONG = {"country": "HK", "hkmo_entity": True, "mainland_controlled": True}


@pytest.mark.parametrize(
    ("name", "claim", "determined", "expected"),
    [
        ("a claim alone settles nothing", True, None, None),
        ("determined chinese", True, True, "0/1"),
        ("determined foreign", True, False, "1/1"),
        ("no claim", False, None, "1/1"),
        ("not asked", None, None, None),
    ],
)
def test_a_hong_kong_holder(bank, name, claim, determined, expected) -> None:
    def unit(conn: Connection) -> object:
        register(conn, [("hk", "x", "1/1")], hk=HONG_KONG | {"mainland_controlled": claim})
        found = {} if determined is None else {("party", "hk", "party_chinese"): determined}
        held = ownership_of(conn, ["x"], found, as_of=DAY)
        return held.facts("recipient", "x").get("recipient.foreign_share_product")

    assert bank.database.write(unit) == expected, name


def test_what_is_not_known_of_a_party_is_left_out(bank: Bank) -> None:
    said = facts(bank, [], x={"legal_person": True})
    assert said["present"] is True
    assert not {"not_for_profit", "never_banned", "mainland_controlled", "influence"} & said.keys()


def test_bans(bank: Bank) -> None:
    checked = facts(bank, [], x={"ban_checked": True})
    assert checked["never_banned"] is True
    banned = facts(bank, [], of="y", y={"ban_checked": True, "banned_until": date(2027, 1, 1)})
    assert (banned["never_banned"], banned["banned_until"]) == (False, date(2027, 1, 1))


def test_steering_without_shares(bank: Bank) -> None:
    def unit(conn: Connection) -> tuple[dict[str, Value], str]:
        register(conn, [("person", "x", "1/1")])
        parties.add_edge(
            conn, owner_id="pty_foreign_pharma", owned_id="x", share=Fraction(0),
            contract_control=True, influence="dominant", valid_from=DAY, evidence="VIE",
        )  # fmt: skip
        held = ownership_of(conn, ["x"], {}, as_of=DAY)
        return held.facts("recipient", "x"), held.group("x")

    said, group = bank.database.write(unit)
    assert said["recipient.contract_control"] is True
    assert said["recipient.influence"] == "dominant"
    assert said["recipient.foreign_share_chain"] == "0/1"
    assert group == "person", "more than half of the shares decides before an arrangement"


@pytest.mark.parametrize(
    ("name", "holds", "of", "group"),
    [
        ("nobody holds half", [("us", "x", "1/3"), ("person", "x", "1/3")], "x", "x"),
        ("up the whole chain", [("us", "a", "1/1"), ("a", "x", "3/5")], "x", "us"),
        ("the larger holder", [("us", "x", "2/5"), ("person", "x", "3/5")], "x", "person"),
        ("half and half follows the foreigner", [("a", "x", "1/2"), ("us", "x", "1/2")], "x", "us"),
        ("a circle is one group", [("a", "x", "1/1"), ("x", "a", "1/1")], "x", "a"),
    ],
)
def test_groups(bank: Bank, name: str, holds: list[Hold], of: str, group: str) -> None:
    def unit(conn: Connection) -> str:
        register(conn, holds)
        return ownership_of(conn, [of], {}, as_of=DAY).group(of)

    assert bank.database.write(unit) == group, name


@pytest.mark.parametrize(
    ("name", "partner", "chinese"),
    [
        ("a public institute", "pty_partner_institute", True),
        ("a company in chinese hands", "pty_cart_domestic", True),
        ("held by half", "pty_cart_jv", False),
        ("abroad", "pty_foreign_university", False),
        ("hong kong, undetermined", "pty_hk_subsidiary", None),
        ("a person", "pty_founder", True),
    ],
)
def test_chinese_partners(bank, name, partner, chinese) -> None:
    with bank.database.read() as conn:
        assert ownership_of(conn, [partner], {}, as_of=DAY).is_chinese(partner) is chinese, name


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("invalid_request", {"share": Fraction(3, 2)}),
        ("invalid_request", {"share": Fraction(0), "votes": Fraction(-1)}),
        ("invalid_request", {"share": Fraction(0), "influence": "some"}),
        ("not_found", {"share": Fraction(0), "owner_id": "pty_nobody"}),
    ],
)
def test_wrong_holds_are_refused(bank: Bank, code: str, changes: dict[str, object]) -> None:
    known: dict[str, object] = {
        "owner_id": "pty_founder", "owned_id": "pty_cart_jv", "valid_from": DAY, "evidence": "test",
    }  # fmt: skip
    with pytest.raises(ProblemError) as error:
        bank.database.write(lambda conn: parties.add_edge(conn, **known | changes))  # type: ignore[arg-type]
    assert error.value.code == code


def test_a_party_is_registered_once(bank: Bank) -> None:
    with pytest.raises(ProblemError) as error:
        facts(bank, [], of="pty_founder", pty_founder={})
    assert error.value.code == "already_done"


def test_least_solution_agrees_with_iteration() -> None:
    """x = A·x + b by repetition, which the elimination must meet from above."""
    third = Fraction(1, 3)
    equations = {
        "x": Equation(of={"y": third, "z": third}, plus=(third, third)),
        "y": Equation(of={"x": third, "y": third}, plus=(Fraction(0), third)),
        "z": Equation(of={"y": Fraction(1, 2)}, plus=(Fraction(0), Fraction(0))),
    }
    values = dict.fromkeys(equations, (Fraction(0), Fraction(0)))
    for _ in range(60):
        values = {
            name: tuple(
                sum((share * values[other][i] for other, share in line.of.items()), line.plus[i])
                for i in (0, 1)
            )
            for name, line in equations.items()
        }  # type: ignore[misc]
    solved = least(equations)
    for name, pair in values.items():
        for reached, exact in zip(pair, solved[name], strict=True):
            assert 0 <= exact - reached < Fraction(1, 10**6)


PATHS = [
    # name, who holds whom, the foreign holders' paths down to x
    ("abroad itself", [("x", "us", "1/1")], "us", {"us"}),
    ("nobody foreign", [("person", "x", "1/1")], "x", set()),
    ("through a chain", [("us", "a", "3/5"), ("a", "x", "1/2")], "x", {"us > 3/5 > a > 1/2 > x"}),
    (
        "the stronger of two chains",
        [("us", "a", "1/1"), ("a", "x", "1/10"), ("us", "x", "1/5")],
        "x",
        {"us > 1/5 > x"},
    ),
    (
        "a longer chain that is stronger",
        [("us", "a", "9/10"), ("a", "x", "4/5"), ("us", "x", "1/5")],
        "x",
        {"us > 9/10 > a > 4/5 > x"},
    ),
    (
        "two holders, and a circle",
        [("us", "a", "1/2"), ("x", "a", "1/2"), ("a", "x", "2/3"), ("gb", "x", "1/3")],
        "x",
        {"us > 1/2 > a > 2/3 > x", "gb > 1/3 > x"},
    ),
    (
        "not above a foreign holder",
        [("gb", "us", "1/1"), ("us", "x", "1/1")],
        "x",
        {"us > 1/1 > x"},
    ),
]


@pytest.mark.parametrize(
    ("holds", "of", "paths"), [row[1:] for row in PATHS], ids=[row[0] for row in PATHS]
)
def test_foreign_paths(bank: Bank, holds: list[Hold], of: str, paths: set[str]) -> None:
    assert facts(bank, holds, of)["foreign_paths"] == paths


def test_paths_say_who_steers_in_words(bank: Bank) -> None:
    def unit(conn: Connection) -> Ownership:
        register(conn, [("person", "x", "1/1"), ("person", "a", "1/1"), ("a", "x", "0/1")])
        for owner, owned, how in [
            ("us", "a", {"contract_control": True}),
            ("a", "x", {"influence": "major"}),
        ]:
            if owner == "us":
                register(conn, [], us={})
            parties.add_edge(
                conn, owner_id=owner, owned_id=owned, share=Fraction(0), valid_from=DAY,
                evidence="agreement", **how,
            )  # fmt: skip
        return ownership_of(conn, ["x"], {}, as_of=DAY)

    held = bank.database.write(unit)
    (path,) = held.foreign_paths("x")
    assert path == "us > contract > a > influence > x"
    assert path_in_words(path, {"us": ("美方公司", "US Corp")}) == (
        "美方公司 以协议等安排控制 a，a 能够重大影响 x",
        "US Corp controls a by agreement, a has major influence on x",
    )
    assert path_in_words("us", held.names) == ("us 本身属于外方", "us is itself foreign")
    assert path_in_words("us > 1/2 > x", {})[1] == "us holds 1/2 of x"


def test_a_merger_ends_holdings_and_keeps_what_was(bank: Bank) -> None:
    day = date(2026, 7, 1)

    def unit(conn: Connection) -> list[tuple[object, object, str]]:
        register(conn, [("person", "x", "1/1"), ("us", "y", "1/1")])
        parties.merge_party(conn, "x", into_id="y", on=day, evidence="announcement")
        seen = []
        for on in (date(2026, 6, 30), day):
            held = ownership_of(conn, ["x"], {}, as_of=on)
            said = held.facts("recipient", "x")
            seen.append(
                (said["recipient.merged"], said["recipient.foreign_share_chain"], held.group("x"))
            )
        return seen

    assert bank.database.write(unit) == [(False, "0/1", "person"), (True, "1/1", "us")]


@pytest.mark.parametrize(
    ("code", "said", "first", "change"),
    [
        ("not_found", "no party `nobody`", [], {"into_id": "nobody"}),
        ("state_conflict", "nothing merges into `x`", [], {"into_id": "x"}),
        ("already_done", "merged into `y`", [("x", "y")], {}),
        ("state_conflict", "nothing merges into `y`", [("y", "z")], {}),
        ("state_conflict", "holds it on that day or later", [], {"on": date(2020, 1, 1)}),
    ],
)
def test_wrong_mergers_are_refused(
    bank: Bank, code: str, said: str, first: list[tuple[str, str]], change: dict[str, object]
) -> None:
    def unit(conn: Connection) -> None:
        register(conn, [("person", "x", "1/1"), ("person", "y", "1/1"), ("person", "z", "1/1")])
        merger = {"into_id": "y", "on": DAY, "evidence": "announcement"}
        for gone, into in first:
            parties.merge_party(conn, gone, **merger | {"into_id": into})
        parties.merge_party(conn, "x", **merger | change)

    with pytest.raises(ProblemError, match=said) as error:
        bank.database.write(unit)
    assert error.value.code == code


def test_a_new_name_leaves_the_former_one(bank: Bank) -> None:
    def unit(conn: Connection) -> list[tuple[object, ...]]:
        register(conn, [], x={})
        for name, since in [("new", date(2025, 1, 1)), ("newer", date(2026, 1, 1))]:
            parties.rename_party(
                conn, "x", name_zh=name, name_en=name, since=since, evidence="notice", now=NOW
            )
        with pytest.raises(ProblemError, match="got the name it has on `2026-01-01`") as error:
            parties.rename_party(
                conn, "x", name_zh="a", name_en="a", since=date(2026, 1, 1), evidence="b", now=NOW
            )
        assert error.value.code == "state_conflict"
        (now,) = ownership_of(conn, ["x"], {}, as_of=DAY).names.values()
        former = reads.former_names(conn, ["x"])["x"]
        return [now, *((one["name_zh"], one["until"]) for one in former)]

    assert bank.database.write(unit) == [
        ("newer", "newer"),
        ("x", date(2024, 12, 31)),
        ("new", date(2025, 12, 31)),
    ]
