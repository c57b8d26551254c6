"""What the tests of remote content serve: the folder that storages hold, larger media than others
have, and who asked a storage for what."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.support.media import AAC, EXACT, LAVFI, Recipe, made, place, tone
from tests.support.remote_http import Asked
from tests.support.stack import origin
from tests.support.subtitles import place_texts

PRESENTATIONS = {
    "/ladder.ism": ("ladder_audio.mp4", "ladder_1.mp4", "ladder_2.mp4", "ladder_3.mp4"),
    "/two_audio.ism": ("two_audio.mp4",),
    "/frag_separate.ism": ("frag_separate.mp4",),
}


# Six megabytes, so that there are several blocks and slices of it; its index is at the end.
LARGE = Recipe(
    file="large.mp4",
    arguments=(
        *(*LAVFI, "testsrc2=s=640x360:r=25:d=10,noise=alls=60:allf=t", *LAVFI, tone(10, 440)),
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p"),
        *("-b:v", "5000k", "-maxrate", "5000k", "-bufsize", "2500k", "-threads", "1"),
        *(*AAC, *EXACT, "{out}"),
    ),
)


def fill(root: Path) -> None:
    """Puts all presentations, and media of their own, into ``root``."""
    for path, files in PRESENTATIONS.items():
        place(root, *files)
        made_manifest = origin("create", "-o", root / path[1:], *(root / file for file in files))
        assert made_manifest.returncode == 0, made_manifest.stdout + made_manifest.stderr
    place(root, "bframes_open.mp4")
    place(root, made(LARGE))
    place_texts(root)


def manifest(*sources: tuple[str, str, int]) -> str:
    """A server manifest of (audio or video, src, bitrate)."""
    entries = "".join(
        f'<{kind} src="{src}" systemBitrate="{bitrate}"/>' for kind, src, bitrate in sources
    )
    return (
        '<smil xmlns="http://www.w3.org/2001/SMIL20/Language"><head/><body><switch>'
        f"{entries}</switch></body></smil>"
    )


def repeated(requests: Iterable[Asked]) -> list[tuple[str, tuple[int, int] | None]]:
    """What was sent more than once of it: path and range."""
    seen: set[tuple[str, tuple[int, int] | None]] = set()
    twice = []
    for one in requests:
        if one.status in (200, 206):
            key = one.path, one.range
            if key in seen:
                twice.append(key)
            seen.add(key)
    return twice
