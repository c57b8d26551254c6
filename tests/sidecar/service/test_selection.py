"""What a query selects reaches manifests, and nothing else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sidecar.formats.registry import KINDS
from sidecar.rpc import origin_pb2
from sidecar.service.presentations import PresentationCache
from sidecar.service.servicer import OriginServicer
from tests.support.license import licensed
from tests.support.media import generated

Ask = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """The plan for a virtual path of clip.mp4 (10 s of video and audio) with a query."""
    shutil.copyfile(generated("bframes_closed.mp4"), tmp_path / "clip.mp4")
    with ThreadPoolExecutor(2) as executor:
        servicer = OriginServicer(PresentationCache(64 << 20, executor), licensed())

        async def call(virtual_path: str, args: str = "") -> Any:
            request = origin_pb2.PlanRequest(
                document_root=str(tmp_path),
                path="/clip.mp4",
                virtual_path=virtual_path,
                args=args,
                method="GET",
            )
            return (await servicer.Plan(request, None)).plan

        yield call


def body(plan: Any) -> str:
    assert plan.status == 200, plan
    return b"".join(part.inline for part in plan.parts).decode()


MANIFESTS = {"dash": ".mpd", "hls": ".m3u8"}


@pytest.mark.parametrize("manifest", MANIFESTS.values())
async def test_filters(ask: Ask, manifest: str) -> None:
    assert "video=" in body(await ask(manifest))
    assert "video=" not in body(await ask(manifest, "filter=type==%22audio%22"))
    refused = await ask(manifest, "filter=type")
    assert refused.status == 400
    assert b"character 5" in refused.parts[0].inline
    assert (await ask(manifest, "filter=false")).status == 404


async def test_clips(ask: Ask) -> None:
    whole, clip = body(await ask(".mpd")), body(await ask(".mpd", "t=2-4"))
    assert "presentationTimeOffset" in clip
    assert "presentationTimeOffset" not in whole
    refused = await ask(".mpd", "vbegin=3600")
    assert refused.status == 400
    assert b"3600" in refused.parts[0].inline


async def test_segments_are_those_of_the_whole(ask: Ask) -> None:
    found = re.search(r'Representation id="(video=\d+)"', body(await ask(".mpd")))
    assert found is not None
    path = f"dash/clip-{found[1]}-0.dash"
    expected = await ask(path)
    assert expected.status == 200
    for query in ("filter=type==%22audio%22", "t=5-6", "t=999999", "max_bitrate=1", "fixed_gop"):
        assert await ask(path, query) == expected


async def test_bad_parameters_are_refused_everywhere(ask: Ask) -> None:
    for kind in ("filter=(", "t=never", "vbegin=2&vend=1", "max_bitrate=all"):
        for path in (".mpd", ".m3u8", "dash/clip-video=1-0.dash"):
            assert (await ask(path, kind)).status == 400


def test_rows_of_manifests_list_and_those_of_segments_do_not() -> None:
    for kind in KINDS:
        listing = re.search("mpd|master|playlist|manifest|f4m|bootstrap|download", kind.name)
        assert kind.lists is bool(listing), kind.name
