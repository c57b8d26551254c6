"""Filter expressions: what they mean, compared with another evaluator, and where they are wrong."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.media.filters import (
    CONSTANTS,
    MAX_DEPTH,
    MAX_LENGTH,
    FilterError,
    parse_filter,
    parse_filters,
)

TRACK: dict[str, int | str] = {
    "type": "video",
    "systembitrate": 400_000,
    "systemlanguage": "eng",
    "fourcc": "AVC1",
    "maxwidth": 1280,
    "avc_profile": 100,
    "avc_level": 31,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("FALSE", False),
        ('type=="video"', True),
        ('TYPE == "video"', True),
        ('type=="Video"', False),
        ('type!="video"||systemBitrate<400000', False),
        ('type!="video"||systemBitrate<=400000', True),
        ('(type!="meta")', True),
        ('(FourCC=="AACL"&&SamplingRate==48000)||(FourCC=="AVC1"&&AVC_LEVEL>=31)', True),
        ("AVC_PROFILE==AVC_PROFILE_HIGH", True),
        ("avc_profile==Avc_Profile_Main", False),
        ("AVC_PROFILE_BASELINE<AVC_PROFILE_HIGH", True),
        ("400000==systemBitrate", True),
        ("MaxWidth>systemBitrate", False),
        # What a track does not have compares as false, either way; so do unlike kinds.
        ('trackName=="video"', False),
        ('trackName!="video"', False),
        ('!(trackName!="video")', True),
        ('systemBitrate=="400000"', False),
        ('systemBitrate!="400000"', False),
        ('type<"zzz"', False),
        # && binds more tightly than ||, ! more tightly than either.
        ("true||false&&false", True),
        ("(true||false)&&false", False),
        ("!true||true", True),
        ("!!true", True),
        (" \t1 == 1\n", True),
        ('"a b&&c"=="a b&&c"', True),
        ('""==""', True),
    ],
)
def test_meaning(text: str, expected: bool) -> None:
    assert parse_filter(text)(TRACK) is expected


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "an attribute, a number or a text in quotes is expected, not the end"),
        ("type", 5, "a comparison such as == is expected, not the end"),
        ('type="video"', 5, "equality is written =="),
        ('type=="video', 7, "no closing quote"),
        ('type=="video"&type!=1', 14, "& must be written twice"),
        ("1==1|1==1", 5, "written twice"),
        ("(1==1", 6, ") is expected, not the end"),
        ("1==1)", 5, "&& or || is expected, not )"),
        ("1==1 2==2", 6, "&& or || is expected, not 2"),
        ("1==1&&", 7, "expected, not the end"),
        ("1<2<3", 4, "&& or || is expected, not <"),
        ("12abc==1", 1, "go on as a name"),
        ("1==-1", 4, "means nothing"),
        ("1==1.5", 5, "means nothing"),
        ("1==1;2==2", 5, "&& or || is expected, not ;"),
        ("true==true", 5, "&& or || is expected, not =="),
        ("9" * 19 + "==1", 1, "too large"),
        ("1==1\x00", 5, "means nothing"),
        ("٣==3", 1, "means nothing"),
    ],
)
def test_errors_say_where(text: str, position: int, reason: str) -> None:
    with pytest.raises(FilterError, match=f"character {position}: ") as caught:
        parse_filter(text)
    assert reason in str(caught.value)
    assert caught.value.position == position


def test_length_and_depth_are_bounded() -> None:
    parse_filter("(" * MAX_DEPTH + "true" + ")" * MAX_DEPTH)
    parse_filter("!" * MAX_DEPTH + "true")
    parse_filter("||".join(["1==1"] * (MAX_LENGTH // 6)))
    for text in ("(" * 2000, "!" * (MAX_DEPTH + 1) + "true", "1==1" + " " * MAX_LENGTH):
        with pytest.raises(FilterError):
            parse_filter(text)


def test_lists_of_filters() -> None:
    first, second = parse_filters('type==";" ; true')
    assert (first(TRACK), second(TRACK)) == (False, True)
    assert len(parse_filters("true")) == 1
    for text in ("", ";", "true;", ";true"):
        with pytest.raises(FilterError):
            parse_filters(text)


# --- a second evaluator: trees are made, and written down in one of their many spellings ---

COMPARATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
spaces = st.sampled_from(["", " ", "\t ", "\n"])
names = st.sampled_from([*TRACK, "systemBitrate", "SamplingRate", "x_1", "trackID"])
operands = st.one_of(
    names.map(lambda name: ("name", name)),
    st.sampled_from([*CONSTANTS, "AVC_PROFILE_MAIN"]).map(lambda name: ("constant", name)),
    st.sampled_from([0, 31, 100, 400_000, 10**18 - 1]).map(lambda number: ("number", number)),
    st.sampled_from(["video", "eng", "", "AVC1", "()&&||!"]).map(lambda text: ("text", text)),
)
trees = st.recursive(
    st.one_of(
        st.booleans().map(lambda truth: ("truth", truth)),
        st.tuples(st.just("compare"), operands, st.sampled_from([*COMPARATORS]), operands),
    ),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.just("and"), st.lists(inner, min_size=2, max_size=4)),
        st.tuples(st.just("or"), st.lists(inner, min_size=2, max_size=4)),
    ),
    max_leaves=12,
)


def value(operand: tuple[str, Any]) -> Any:
    kind, what = operand
    if kind == "name":
        return TRACK.get(what.lower())
    return CONSTANTS[what.lower()] if kind == "constant" else what


def truth(tree: Any) -> bool:
    if tree[0] == "truth":
        return bool(tree[1])
    if tree[0] == "not":
        return not truth(tree[1])
    if tree[0] == "and":
        return False not in [truth(one) for one in tree[1]]
    if tree[0] == "or":
        return True in [truth(one) for one in tree[1]]
    _, left, sign, right = tree
    one, other = value(left), value(right)
    if one is None or other is None or type(one) is not type(other):
        return False
    if isinstance(one, str) and sign not in ("==", "!="):
        return False
    return COMPARATORS[sign](one, other)


def written(tree: Any, draw: Callable[[Any], str]) -> str:
    space = draw(spaces)
    if tree[0] == "truth":
        return space + draw(st.sampled_from([str(tree[1]), str(tree[1]).upper()])) + draw(spaces)
    if tree[0] == "compare":
        texts = [f'"{what}"' if kind == "text" else str(what) for kind, what in tree[1::2]]
        return f"{space}{texts[0]}{draw(spaces)}{tree[2]}{draw(spaces)}{texts[1]}{draw(spaces)}"
    if tree[0] == "not":
        return f"{space}!{bracketed(tree[1], draw, always=tree[1][0] != 'not')}"
    sign = "&&" if tree[0] == "and" else "||"
    weaker = ("or", "and") if tree[0] == "and" else ("or",)
    return sign.join(bracketed(one, draw, always=one[0] in weaker) for one in tree[1])


def bracketed(tree: Any, draw: Callable[[Any], str], *, always: bool) -> str:
    if always or draw(st.sampled_from(["", "("])):
        return f"({written(tree, draw)}){draw(spaces)}"
    return written(tree, draw)


@given(trees, st.data())
def test_like_another_evaluator(tree: Any, data: st.DataObject) -> None:
    text = written(tree, data.draw)
    if len(text) <= MAX_LENGTH:
        assert parse_filter(text)(TRACK) is truth(tree)


@given(st.text(max_size=40) | st.text('()!&|=<>"1ate; ', max_size=60))
def test_anything_is_a_filter_or_an_error_within_it(text: str) -> None:
    for parse in (parse_filter, parse_filters):
        try:
            parsed = parse(text)
        except FilterError as error:
            assert 1 <= error.position <= len(text) + 1
        else:
            for one in parsed if isinstance(parsed, tuple) else (parsed,):
                assert one(TRACK) in (True, False)
                assert one({}) in (True, False)
