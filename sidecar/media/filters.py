"""Track filters: boolean expressions over the attributes of a track.

    expression := conjunction ("||" conjunction)*
    conjunction := term ("&&" term)*
    term := "!" term | "(" expression ")" | "true" | "false" | operand comparator operand
    operand := attribute | number | '"' text '"' | constant
    comparator := "==" | "!=" | "<=" | ">=" | "<" | ">"

Attributes, constants, ``true`` and ``false`` may be written in any case.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Value = int | str
Attributes = Mapping[str, Value]
# Whether a track with these attributes (names in lower case) is meant.
Filter = Callable[[Attributes], bool]

MAX_LENGTH = 2048
MAX_DEPTH = 64

# profile_idc of ISO/IEC 14496-10 Annex A.
CONSTANTS = {
    "avc_profile_baseline": 66,
    "avc_profile_main": 77,
    "avc_profile_extended": 88,
    "avc_profile_high": 100,
    "avc_profile_high_10": 110,
    "avc_profile_high_422": 122,
    "avc_profile_high_444": 244,
}
_COMPARATORS: dict[str, Callable[[Value, Value], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_TOKEN = re.compile(
    r"[ \t\r\n]*(?:"
    r'(?P<text>"[^"]*")|(?P<number>[0-9]+)(?![0-9A-Za-z_])|(?P<name>[A-Za-z_][A-Za-z0-9_]*)'
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[<>!();])|(?P<end>\Z)|(?P<other>.))",
    re.DOTALL,
)
_MAX_DIGITS = 18


class FilterError(ValueError):
    """The text is no expression. ``position``: of the character that is wrong, counting from 1."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(f"character {position}: {reason}")
        self.position = position


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else self.text


def parse_filter(text: str) -> Filter:
    """The filter that ``text`` says; raises ``FilterError``.

    A comparison with an attribute that the track does not have is false, whatever the comparator;
    so is one of a number with a text, and one of texts that asks which is greater.
    """
    parser = _Parser(text)
    found = parser.expression()
    parser.expect("end")
    return found


def parse_filters(text: str) -> tuple[Filter, ...]:
    """The filters that ``text`` lists, separated by semicolons; raises ``FilterError``."""
    parser = _Parser(text)
    found = [parser.expression()]
    while parser.accept(";"):
        found.append(parser.expression())
    parser.expect("end")
    return tuple(found)


def _tokens(text: str) -> list[_Token]:
    if len(text) > MAX_LENGTH:
        raise FilterError(f"there are more than {MAX_LENGTH} characters", MAX_LENGTH + 1)
    tokens: list[_Token] = []
    at = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKEN.match(text, at)
        # The last alternative takes any character, and the one before it the end.
        assert match is not None
        kind = match.lastgroup or ""
        token = _Token(kind, match[kind], match.start(kind) + 1)
        if kind == "other":
            raise FilterError(_reason(token.text), token.position)
        if kind == "number" and len(token.text) > _MAX_DIGITS:
            raise FilterError("the number is too large", token.position)
        tokens.append(token)
        at = match.end()
    return tokens


def _reason(character: str) -> str:
    if character == '"':
        return "the text has no closing quote"
    if character.isascii() and character.isdigit():
        return "a number must not go on as a name"
    if character in "&|":
        return f"{character} must be written twice"
    if character == "=":
        return "equality is written =="
    return "this character means nothing here"


class _Parser:
    """Recursive descent; recurses at parentheses and negations only, which it counts."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def expression(self) -> Filter:
        return self._joined("||", self._conjunction, any)

    def accept(self, sign: str) -> bool:
        found = self._token.kind == "sign" and self._token.text == sign
        self._next += found
        return found

    def expect(self, what: str) -> None:
        if self._token.kind == what == "end" or self.accept(what):
            return
        if what == "end":
            raise self._wrong("&& or ||")
        raise self._wrong(what)

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _conjunction(self) -> Filter:
        return self._joined("&&", self._term, all)

    def _joined(
        self, sign: str, part: Callable[[], Filter], join: Callable[[list[bool]], bool]
    ) -> Filter:
        parts = [part()]
        while self.accept(sign):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        return lambda attributes: join([one(attributes) for one in parts])

    def _term(self) -> Filter:
        if self.accept("!"):
            self._descend()
            negated = self._term()
            self._depth -= 1
            return lambda attributes: not negated(attributes)
        if self.accept("("):
            self._descend()
            inner = self.expression()
            self.expect(")")
            self._depth -= 1
            return inner
        if self._token.kind == "name" and self._token.text.lower() in ("true", "false"):
            truth = self._token.text.lower() == "true"
            self._next += 1
            return lambda attributes: truth
        return self._comparison()

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FilterError(
                f"there are more than {MAX_DEPTH} levels of parentheses", self._token.position
            )

    def _comparison(self) -> Filter:
        left = self._operand()
        if self._token.kind != "sign" or self._token.text not in _COMPARATORS:
            raise self._wrong("a comparison such as ==")
        sign = self._token.text
        self._next += 1
        right = self._operand()
        compare = _COMPARATORS[sign]
        ordered = sign not in ("==", "!=")

        def comparison(attributes: Attributes) -> bool:
            one, other = left(attributes), right(attributes)
            if one is None or other is None or isinstance(one, str) != isinstance(other, str):
                return False
            return not (ordered and isinstance(one, str)) and compare(one, other)

        return comparison

    def _operand(self) -> Callable[[Attributes], Value | None]:
        token = self._token
        if token.kind not in ("name", "number", "text"):
            raise self._wrong("an attribute, a number or a text in quotes")
        self._next += 1
        if token.kind == "name":
            name = token.text.lower()
            if name in CONSTANTS:
                constant = CONSTANTS[name]
                return lambda attributes: constant
            return lambda attributes: attributes.get(name)
        value = int(token.text) if token.kind == "number" else token.text[1:-1]
        return lambda attributes: value

    def _wrong(self, expected: str) -> FilterError:
        return FilterError(f"{expected} is expected, not {self._token}", self._token.position)
