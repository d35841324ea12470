"""Many rules as one function: their conditions as Python expressions, each asked only under its gate.

The rules it keeps: it says of every rule what its closures say (`Condition.holds` and `missing`), which
are the reference in tests. No text is ever executed: the function is a tree of `ast` nodes of the few
kinds built here, from conditions that were checked when their pack was loaded. Facts are named by
constants, never by names of Python, and what the function may call stands in its own namespace.

Kleene's three values are asked for by two questions, and each is plain Python that stops as early as it
may: does a condition hold (`wide=False`), and does it hold or is it unknown (`wide=True`). Under an
unknown fact, None, the first is false and the second true.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, assert_never

from policies.conditions import Form, Leaf, Negated, Several
from policies.request import Value
from policies.vocabulary import fraction


class Told(Protocol):
    """Where it is written what there is to tell of a rule, by the rule's place: a list or a dict."""

    def __setitem__(self, place: int, silence: Any, /) -> None:
        """Take what is told of a rule that does not hold."""


#: Writes the silence of each rule that applies and does not hold to `Told`, and calls `speak` with each
#: that holds, beside None, and each that is unknown, beside the names of the facts that make it so.
Judge = Callable[
    [Mapping[str, Value | None], Told, Callable[[tuple[Any, tuple[str, ...] | None]], None]], None
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One rule: its place, its two gates, and what is told of it. `tentative`: it never surely holds."""

    place: int
    applies: Form | None
    when: Form
    rule: object
    silence: object
    tentative: bool


def compiled(lines: Sequence[Line]) -> Judge:
    """The function that judges all the rules of these lines, in their order."""
    writer = _Writer()
    body = [
        *writer.often(lines),
        *writer.gates(lines),
        *(writer.rule(line) for line in lines),
        ast.Pass(**_AT),
    ]
    parameters = [ast.arg(arg=name, **_AT) for name in ("facts", "told", "speak")]
    function = ast.FunctionDef(
        name="judge",
        args=ast.arguments(
            posonlyargs=[], args=parameters, kwonlyargs=[], kw_defaults=[], defaults=[]
        ),
        body=body,
        decorator_list=[],
        **_AT,
    )
    tree = ast.Module(body=[function], type_ignores=[])
    namespace = {"__builtins__": {}, **writer.named}
    exec(compile(tree, "<rules>", "exec"), namespace)  # noqa: S102 - of nodes built above, no text
    judge: Judge = namespace["judge"]
    return judge


_SIGNS: Mapping[str, type[ast.cmpop]] = {
    "is": ast.Eq,
    "in": ast.In,
    "at_least": ast.GtE,
    "at_most": ast.LtE,
    "before": ast.Lt,
    "after": ast.Gt,
    "within": ast.LtE,  # of sets
}


_OFTEN = 3  # looks at a fact cost more than one and a name for it


def _reads(form: Form) -> Iterator[str]:
    match form:
        case Several(parts=parts):
            for part in parts:
                yield from _reads(part)
        case Negated(part=part):
            yield from _reads(part)
        case Leaf(fact=name, other=other):
            yield name
            if other is not None:
                yield other
        case _:
            assert_never(form)


@dataclass(slots=True)
class _Writer:
    """Writes one function; owns the values it names, for only texts and numbers may be constants."""

    named: dict[str, Any] = field(default_factory=lambda: {"fraction": fraction})
    gate: dict[Form, ast.expr] = field(default_factory=dict)
    facts: dict[str, ast.expr] = field(default_factory=dict)

    def often(self, lines: Iterable[Line]) -> Iterable[ast.stmt]:
        """Look once at each fact that many conditions look at."""
        forms = {form for line in lines for form in (line.applies, line.when) if form is not None}
        looks = Counter(name for form in forms for name in set(_reads(form)))
        for name in sorted(name for name, times in looks.items() if times >= _OFTEN):
            local = f"fact{len(self.facts)}"
            yield ast.Assign([ast.Name(local, ast.Store(), **_AT)], self.fact(name), **_AT)
            self.facts[name] = ast.Name(local, _LOAD, **_AT)

    def fact(self, name: str) -> ast.expr:
        """The value of a fact."""
        if name not in self.facts:
            facts = ast.Name("facts", _LOAD, **_AT)
            return ast.Subscript(facts, _constant(name), _LOAD, **_AT)
        return self.facts[name]

    def gates(self, lines: Iterable[Line]) -> Iterable[ast.stmt]:
        """Each gate once, since many rules share it: whether it is open, or what is unknown about it."""
        for form in dict.fromkeys(line.applies for line in lines):
            if form is not None:
                name = f"gate{len(self.gate)}"
                self.gate[form] = ast.Name(name, _LOAD, **_AT)
                known = _if(_ask(form, self, wide=False), _constant(True), _missing(form, self))
                yield ast.Assign(
                    targets=[ast.Name(name, ast.Store(), **_AT)],
                    value=_if(_ask(form, self, wide=True), known, _constant(False)),
                    **_AT,
                )

    def rule(self, line: Line) -> ast.stmt:
        """What to do about one rule: it is not asked, is told as silent, or speaks."""
        rule = self.name(line.rule)
        gate = None if line.applies is None else self.gate[line.applies]
        missing = _missing(line.when, self)
        holds = _ask(line.when, self, wide=False)
        if gate is not None:
            is_open = _compared(gate, ast.Is(), True)
            missing = _joined([missing, _if(is_open, _constant(()), gate)])
            holds = _all_of([is_open, holds])
        speaks = _spoken(rule, missing)
        if not line.tentative:
            speaks = ast.If(holds, [_spoken(rule, _constant(None))], [speaks], **_AT)
        told = ast.Name("told", _LOAD, **_AT)
        place = ast.Subscript(told, _constant(line.place), ast.Store(), **_AT)
        silence = ast.Assign([place], self.name(line.silence), **_AT)
        asked = ast.If(_ask(line.when, self, wide=True), [speaks], [silence], **_AT)
        return asked if gate is None else ast.If(gate, [asked], [], **_AT)

    def name(self, value: object) -> ast.expr:
        """A name for a value that is not written into the code."""
        name = f"value{len(self.named)}"
        self.named[name] = value
        return ast.Name(name, _LOAD, **_AT)

    def literal(self, value: object) -> ast.expr:
        """A value of a pack."""
        return _constant(value) if type(value) in {bool, int, str} else self.name(value)


def _ask(form: Form, writer: _Writer, *, wide: bool) -> ast.expr:
    """True if the condition holds, or, if `wide`, unless it is false."""
    match form:
        case Several(deciding=deciding, parts=parts):
            asked = [_ask(part, writer, wide=wide) for part in parts]
            return _any_of(asked) if deciding else _all_of(asked)
        case Negated(part=part):
            return _not(_ask(part, writer, wide=not wide))
        case Leaf(sign="known", right=wanted):
            return _is_none(writer.fact(form.fact), negated=bool(wanted))
        # Most leaves: a boolean, asked for without comparing. None is neither True nor False.
        case Leaf(sign="is", right=True):
            return (
                _compared(writer.fact(form.fact), ast.IsNot(), False)
                if wide
                else writer.fact(form.fact)
            )
        case Leaf(sign="is", right=False):
            return (
                _not(writer.fact(form.fact))
                if wide
                else _compared(writer.fact(form.fact), ast.Is(), False)
            )
        case Leaf():
            return _leaf(form, writer, wide=wide)
        case _:
            assert_never(form)


def _leaf(leaf: Leaf, writer: _Writer, *, wide: bool) -> ast.expr:
    names = [leaf.fact] if leaf.other is None else [leaf.fact, leaf.other]
    right = writer.literal(leaf.right) if leaf.other is None else writer.fact(leaf.other)
    left = writer.fact(leaf.fact)
    if leaf.share:
        left = _fraction(left)
        right = right if leaf.other is None else _fraction(right)
    known = [_is_none(writer.fact(name), negated=not wide) for name in names]
    if not wide and leaf.sign in {"is", "in"} and leaf.other is None and not leaf.share:
        known = []  # None equals nothing that a pack writes
    test = ast.Compare(left, [_SIGNS[leaf.sign]()], [right], **_AT)
    return _any_of([*known, test]) if wide else _all_of([*known, test])


def _missing(form: Form, writer: _Writer) -> ast.expr:
    """The names of the unknown facts that make a condition unknown; none if it is not."""
    match form:
        case Several(deciding=deciding, parts=parts):
            decided = _ask(form, writer, wide=not deciding)
            if not deciding:
                decided = _not(decided)
            return _if(decided, _constant(()), _joined(_missing(part, writer) for part in parts))
        case Negated(part=part):
            return _missing(part, writer)
        case Leaf(sign="known"):
            return _constant(())
        case Leaf():
            names = (form.fact,) if form.other is None else (form.fact, form.other)
            return _joined(
                _if(_is_none(writer.fact(name), negated=False), _constant((name,)), _constant(()))
                for name in names
            )
        case _:
            assert_never(form)


# ---- the kinds of nodes --------------------------------------------------------------------------


#: Every node says where it stood in a text; there is none.
_AT: Any = {"lineno": 1, "col_offset": 0}
_LOAD = ast.Load()


def _constant(value: Any) -> ast.expr:
    return ast.Constant(value, **_AT)


def _compared(left: ast.expr, sign: ast.cmpop, value: object) -> ast.expr:
    return ast.Compare(left, [sign], [_constant(value)], **_AT)


def _is_none(left: ast.expr, *, negated: bool) -> ast.expr:
    return _compared(left, ast.IsNot() if negated else ast.Is(), None)


def _fraction(text: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("fraction", _LOAD, **_AT), [text], [], **_AT)


def _not(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test, **_AT)


def _all_of(each: list[ast.expr]) -> ast.expr:
    return each[0] if len(each) == 1 else ast.BoolOp(ast.And(), each, **_AT)


def _any_of(each: list[ast.expr]) -> ast.expr:
    return each[0] if len(each) == 1 else ast.BoolOp(ast.Or(), each, **_AT)


def _if(test: ast.expr, yes: ast.expr, no: ast.expr) -> ast.expr:
    return ast.IfExp(test, yes, no, **_AT)


def _joined(each: Iterable[ast.expr]) -> ast.expr:
    """One tuple of many."""
    first, *rest = each
    for one in rest:
        first = ast.BinOp(first, ast.Add(), one, **_AT)
    return first


def _spoken(rule: ast.expr, missing: ast.expr) -> ast.stmt:
    told = ast.Tuple([rule, missing], _LOAD, **_AT)
    return ast.Expr(ast.Call(ast.Name("speak", _LOAD, **_AT), [told], [], **_AT), **_AT)
