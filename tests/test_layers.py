"""Imports of the sidecar point only towards lower layers (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    {"errors", "units", "clock"},
    {"license", "storage"},
    {"boxes"},
    {"codecs"},
    {"media"},
    {"timeline"},
    {"mux"},
    # Siblings: neither knows of the other.
    {"formats", "live"},
    {"service", "rpc", "migrate"},
    {"cli", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
CONFINED = {  # third-party package -> where it may be imported
    "grpc": {"service", "cli"},
    "grpc_health": {"service", "cli"},
    "grpc_reflection": {"service"},
    "aiohttp": {"service"},
    "asyncio": {"service", "cli"},
    "uvloop": {"service"},
    "botocore": {"storage"},
    "click": {"cli"},
    "crossplane": {"migrate"},
    "cryptography": {"license"},
    "prometheus_client": {"service"},
    "urllib3": {"storage"},
    "pymp4": {"boxes/declared.py"},
    "construct": {"boxes/declared.py"},
}


def modules() -> list[Path]:
    package = ROOT / "sidecar"
    return [p for p in sorted(package.rglob("*.py")) if p.parent.name != "rpc"]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            if node.module == "sidecar":
                yield from (f"sidecar.{alias.name}" for alias in node.names)


def layer_of(path: Path) -> str:
    first = path.relative_to(ROOT / "sidecar").parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    layer = layer_of(path)
    if layer == "__init__":
        return
    inner = path.relative_to(ROOT / "sidecar")
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "sidecar" and len(parts) > 1:
            assert RANK[parts[1]] <= RANK[layer], f"{inner} ({layer}) imports {name}"
            sibling_formats = {"hls", "dash", "smooth", "hds", "download"}
            if layer == "formats" and len(parts) > 2 and parts[1] == "formats":
                own = inner.parts[1] if len(inner.parts) > 2 else ""
                if own in sibling_formats and parts[2] in sibling_formats:
                    assert parts[2] == own, f"{inner} imports its sibling {name}"
        allowed = CONFINED.get(parts[0])
        if allowed is not None:
            assert layer in allowed or str(inner) in allowed, f"{inner} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_clock_reads_the_clock(path: Path) -> None:
    if path.name == "clock.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            read = f"{node.value.id}.{node.attr}"
            assert read not in {"time.time", "time.time_ns", "datetime.now", "time.monotonic"}, (
                f"{path}:{node.lineno} reads the clock: {read}"
            )


def test_the_layers_are_all_there() -> None:
    present = {layer_of(p) for p in modules()} - {"__init__"}
    assert present <= set(RANK)
