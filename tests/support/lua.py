"""The modules of lua/origin in LuaJIT, inside the test process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaRuntime

ROOT = Path(__file__).resolve().parents[2]


class Lua:
    """A fresh LuaJIT. Strings are bytes; tables of ours are made with ``table`` and ``list``."""

    def __init__(self) -> None:
        self.runtime = LuaRuntime(encoding=None, unpack_returned_tuples=True)
        path = f"{ROOT}/lua/?.lua;{ROOT}/lua/?/init.lua"
        self.runtime.execute(b"package.path = '%s'" % path.encode())

    def require(self, name: str) -> Any:
        """The module ``origin.<name>``."""
        return self.run(f"return require 'origin.{name}'")

    def run(self, chunk: str, *arguments: Any) -> Any:
        """What a chunk returns; the arguments are its ``...``."""
        return self.runtime.eval(b"function(...) %s end" % chunk.encode())(*arguments)

    def table(self, **fields: Any) -> Any:
        return self.runtime.table_from({name.encode(): value for name, value in fields.items()})

    def list(self, values: Iterable[Any]) -> Any:
        return self.runtime.table_from(list(values))


def plain(value: Any) -> Any:
    """A Lua table as list or dict, and so on inside; bytes keys as str."""
    if not hasattr(value, "items"):
        return value
    items = {key: plain(item) for key, item in value.items()}
    if items and sorted(items, key=str) == sorted(range(1, len(items) + 1), key=str):
        return [items[index] for index in range(1, len(items) + 1)]
    return {key.decode() if isinstance(key, bytes) else key: item for key, item in items.items()}
