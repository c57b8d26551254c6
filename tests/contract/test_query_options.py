"""nginx and the sidecar agree on which parameters of a query are options."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.luajit21 import LuaRuntime

from sidecar.errors import BadRequest
from sidecar.media.filters import MAX_LENGTH
from sidecar.media.option_table import QUERY_OPTIONS
from sidecar.media.options import parse_options

ARGS = Path(__file__).resolve().parents[2] / "lua" / "origin" / "args.lua"


@pytest.fixture(scope="module")
def args() -> Any:
    """The module origin.args."""
    return LuaRuntime(encoding=None).execute(ARGS.read_bytes())


def reduced(args: Any, query: str) -> str:
    return bytes(args[b"reduce"](query.encode())).decode("ascii")


def test_the_lists_are_equal(args: Any) -> None:
    assert {name.decode() for name in args[b"options"]} == QUERY_OPTIONS


def test_repeated_parameters_keep_their_order(args: Any) -> None:
    query = "variant_set=b&t=1&variant_set=a&x=1&variant.set=c"
    assert reduced(args, query) == "t=1&variant_set=b&variant_set=a&variant_set=c"


def test_the_longest_filter_arrives_whole(args: Any) -> None:
    # Dropped, it would select nothing and everything would be listed.
    expression = "||".join(['type!="video"'] * 200)[: MAX_LENGTH - 2]
    query = f"filter={quote(expression, safe='').replace('e', '%65')}"
    assert reduced(args, query) == query
    with pytest.raises(BadRequest):
        parse_options({}, reduced(args, f"filter={'%20' * (MAX_LENGTH + 1)}"))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*sorted(QUERY_OPTIONS), "hls.fmp4", "utm_source", "max%5Fbitrate"]),
            st.text("0123456789truefalse/:.-%\xe4 ", max_size=8),
        ),
        max_size=6,
    )
)
def test_reducing_loses_no_option(args: Any, pairs: list[tuple[str, str]]) -> None:
    query = "&".join(f"{name}={text}" for name, text in pairs)
    outcomes = []
    for asked in (query, reduced(args, query)):
        try:
            options = parse_options({}, asked)
            outcomes.append((options.queries, options.playlist_query, options.max_bitrate))
        except BadRequest:
            outcomes.append(BadRequest)
    assert outcomes[0] == outcomes[1]
