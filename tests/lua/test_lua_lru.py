"""The byte-bounded cache against a model of it."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from tests.support.lua import Lua

LUA = Lua()
NEW = LUA.require("lru").new

KEY = st.integers(0, 12)
STEP = st.one_of(
    st.tuples(st.just("get"), KEY, st.just(0)),
    st.tuples(st.just("delete"), KEY, st.just(0)),
    st.tuples(st.just("set"), KEY, st.integers(0, 24)),
)


@given(st.lists(STEP, max_size=60), st.sampled_from([(), (4,)]))
def test_it_keeps_what_was_used_last_within_its_bytes(
    steps: list[tuple[str, int, int]], share: tuple[int, ...]
) -> None:
    cache, model = NEW(80, *share), OrderedDict[int, tuple[int, int]]()
    for value, (verb, key, cost) in enumerate(steps):
        if verb == "get":
            expected = model.get(key, (None, 0))[0]
            if key in model:
                model.move_to_end(key)
            assert cache[b"get"](cache, key) == expected
        elif verb == "delete":
            model.pop(key, None)
            cache[b"delete"](cache, key)
        else:
            model.pop(key, None)
            kept = cost <= (20 if share else 10)
            if kept:
                model[key] = (value, cost)
            while sum(cost for _, cost in model.values()) > 80:
                model.popitem(last=False)
            assert cache[b"set"](cache, key, value, cost) is kept
        assert cache[b"bytes"] == sum(cost for _, cost in model.values())
        assert cache[b"count"] == len(model)
    for key in list(model):
        assert cache[b"get"](cache, key) == model[key][0]


def test_none_is_kept_without_memory() -> None:
    cache = NEW(0)
    assert cache[b"set"](cache, b"a", 1, 1) is False
    assert cache[b"get"](cache, b"a") is None
