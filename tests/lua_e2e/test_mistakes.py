"""nginx does not start with a mistake in a block; what it says names the place and the mistake."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.fake_sidecar import command, prepare
from tests.support.mistakes import MISTAKES, Mistake
from tests.support.stack import eventually

BLOCK = re.compile(r"( +init_by_lua_block \{\n)(.*?)(\n    \}\n)", re.DOTALL)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    prepare(folder)
    return folder


@pytest.fixture(scope="module")
def conf(root: Path) -> str:
    return (root / "openresty.conf").read_text()


def with_block(conf: str, lua: str) -> tuple[str, int]:
    """The configuration with that Lua alone, and the line on which it begins."""
    block = f'origin = require "origin"\n{lua}'
    text, count = BLOCK.subn(lambda match: f"{match[1]}{block}{match[3]}", conf)
    assert count == 1
    return text, text[: text.index(block)].count("\n") + 2


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_stops_the_start(root: Path, conf: str, mistake: Mistake) -> None:
    text, first = with_block(conf, mistake.lua)
    if mistake.dictionary:
        text = re.sub(rf"lua_shared_dict {mistake.dictionary} .*", "", text)
    (root / "openresty.conf").write_text(text)
    done = subprocess.run(command(root), cwd=root, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    said = done.stderr.decode()
    line = first + (mistake.lua.count("\n") if mistake.line is None else mistake.line - 1)
    assert f"init_by_lua error: openresty.conf:{line}: {mistake.says}\n" in said
    # Keys stand in some of them.
    assert not re.search("wJalr|FEMI|AKIA|FwoG", said)


def test_without_a_mistake_it_starts(root: Path, conf: str) -> None:
    text, _ = with_block(conf, "vod = origin.location [[ usp_handle_ism on; ]]")
    (root / "openresty.conf").write_text(text)
    process = subprocess.Popen(command(root), cwd=root)
    try:
        eventually((root / "logs" / "nginx.pid").exists, "start of nginx")
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(60)
