"""How much garbage may gather before the collector goes through all that is held."""

from __future__ import annotations

import pytest

from tests.support.lua import Lua

LUA = Lua()
COLLECTOR = LUA.require("collector")
LEAST = 48 << 20


@pytest.mark.parametrize("held", [1 << 20, 5 << 20, 40 << 20, 48 << 20, 200 << 20])
def test_as_much_as_is_held_or_some_dozens_of_segments(held: int) -> None:
    begins_at = held * COLLECTOR.pause_for(held >> 10) / 100
    assert begins_at == pytest.approx(held + max(held, LEAST))


def test_each_collection_sets_the_pause_for_what_it_leaves() -> None:
    LUA.run("require('origin.collector').start()")
    for _ in range(3):
        LUA.run("kept = string.rep('x', 2^20) .. os.time()")
        pause, held = LUA.run(
            """
            collectgarbage("setpause", 150)
            collectgarbage()
            return collectgarbage("setpause", 150), collectgarbage("count")
            """
        )
        assert pause == pytest.approx(COLLECTOR.pause_for(held), rel=0.2)


def test_segments_that_are_sent_are_no_reason_to_collect() -> None:
    LUA.run("require('origin.collector').start()")
    LUA.run("collectgarbage()")
    before, after = LUA.run(
        """
        local before = collectgarbage("count")
        local text = string.rep("x", 122870)
        for i = 1, 200 do
            sent = text .. i
        end
        return before, collectgarbage("count")
        """
    )
    assert after - before > 20_000
