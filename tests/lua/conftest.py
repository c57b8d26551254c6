from __future__ import annotations

import pytest

from tests.support.lua import Lua


@pytest.fixture(scope="module")
def lua() -> Lua:
    return Lua()
