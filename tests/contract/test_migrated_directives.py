"""What a migration knows of directives, next to the table that Lua reads them by."""

from __future__ import annotations

from sidecar.migrate import original
from tests.support.lua import Lua, plain

ROWS = plain(Lua().require("directives.table"))
THEIRS = {
    row["name"].decode(): row for row in ROWS if row["name"].startswith((b"usp_", b"ism_", b"s3_"))
}


def test_every_directive_of_the_original_is_carried_over() -> None:
    known = {*original.FLAGS, *original.VALUES, original.LICENSE}
    assert set(THEIRS) == known


def test_flags_are_flags_of_locations() -> None:
    for name in original.FLAGS:
        assert THEIRS[name]["kind"] == b"flag"
        assert b"location" in THEIRS[name]["contexts"] or "location" in THEIRS[name]["contexts"]
