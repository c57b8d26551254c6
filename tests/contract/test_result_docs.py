"""docs/results.md has the results of the contract with the statuses that they get."""

from __future__ import annotations

import re

from sidecar.errors import Result
from sidecar.service.statuses import PLAYOUTS, status_of
from tests.support.lua import Lua
from tests.support.media import ROOT
from tests.support.result_docs import meanings, table

TEXT = (ROOT / "docs" / "results.md").read_text()


def test_the_contract_says_what_each_result_means() -> None:
    assert list(meanings()) == [result.name for result in Result]


def test_the_table_is_that_of_the_statuses() -> None:
    assert table() in TEXT, f"docs/results.md must have this table:\n{table()}"


def test_every_result_that_is_named_exists() -> None:
    assert set(re.findall(r"FMP4_[A-Z_]+", TEXT)) == {result.name for result in Result}


def test_directives_know_the_formats_that_plans_name() -> None:
    known = {name.decode() for name in Lua().require("directives.kinds")[b"formats"]}
    assert known == {*PLAYOUTS.values(), "*"}


def test_requests_of_no_format_have_the_statuses_of_hls() -> None:
    assert "(a wrong URL, a method) have the statuses of `hls`" in TEXT
    for result in Result:
        assert status_of(result) == status_of(result, "hls")


def test_what_nginx_refuses_by_itself_has_the_same_statuses() -> None:
    """But for a file that is being replaced, which is over in a moment."""
    said = {
        (name, int(status))
        for source in (ROOT / "lua").rglob("*.lua")
        for name, status in re.findall(
            r"(?:refuse\(\"|\b)(FMP4_\w+)(?:\",| = \{)\s*(\d{3}),", source.read_text()
        )
    }
    assert len(said) >= 7
    odd = {(name, status) for name, status in said if status_of(Result[name]) != status}
    assert odd == {("FMP4_STORAGE_ERROR", 503)}
