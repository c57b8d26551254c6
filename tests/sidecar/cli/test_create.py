"""``origin create``: the command line, what is written, and what is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sidecar.cli.create import create
from sidecar.media.build import presentation_from_manifest
from sidecar.media.index import index_media
from sidecar.media.presentation import Presentation
from sidecar.media.server_manifest import Entry, ServerManifest, read_server_manifest
from sidecar.media.track import Kind, MediaFile
from sidecar.storage.local import open_local

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is missing")
Create = Callable[..., Result]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``low.mp4`` and ``high.mp4`` with video and English audio, ``deu.mp4``, ``wide.mp4``."""
    folder = tmp_path_factory.mktemp("clips")
    picture = ("-f", "lavfi", "-i", "testsrc2=s=128x96:r=25:d=0.4")
    sound = ("-f", "lavfi", "-i", "sine=d=0.4", "-c:a", "aac")
    avc = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
    english = ("-metadata:s:a:0", "language=eng")
    for name, arguments in {
        "low.mp4": (*picture, *sound, *avc, "-crf", "40", *english),
        "high.mp4": (*picture, *sound, *avc, "-crf", "10", *english),
        "deu.mp4": (*sound, "-metadata:s:a:0", "language=deu"),
        "wide.mp4": (*picture, "-vf", "setsar=64/45", *avc),
        "text.mp4": ("-i", folder / "text.srt", "-c:s", "mov_text"),
    }.items():
        (folder / "words.srt").write_text("no cues here\n")
        (folder / "text.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHi\n")
        subprocess.run(
            ("ffmpeg", "-v", "error", *arguments, folder / name), check=True, timeout=180
        )
    return folder


@pytest.fixture
def run(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Create:
    for clip in clips.iterdir():
        (tmp_path / clip.name).symlink_to(clip)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(create, arguments, catch_exceptions=False)

    return invoke


def written(path: str = "film.ism") -> ServerManifest:
    return read_server_manifest(Path(path).read_bytes(), path=path)


def served(path: str = "film.ism") -> Presentation:
    """The presentation that the written manifest makes of the media."""
    manifest = written(path)
    files: dict[str, MediaFile] = {}
    for entry in manifest.entries:
        source = open_local(os.path.join(os.path.dirname(path), entry.src))  # noqa: PTH118, PTH120
        files[entry.src] = index_media(source)
        source.close()
    identity = next(iter(files.values())).source
    return presentation_from_manifest("film", manifest, identity, files)


def described(entry: Entry) -> tuple[str, str, str | None, str | None]:
    return entry.kind.value, entry.src, entry.language, entry.track_name


def test_one_entry_per_track_in_order(run: Create) -> None:
    result = run("-o", "film.ism", "high.mp4", "low.mp4", "deu.mp4")
    assert (result.exit_code, result.stdout) == (0, "film.ism: 5 tracks\n")
    entries = written().entries
    assert {described(entry) for entry in entries[:3]} == {
        ("audio", "high.mp4", "eng", "audio_eng"),
        ("audio", "low.mp4", "eng", "audio_eng_1"),
        ("audio", "deu.mp4", "deu", "audio_deu"),
    }
    assert [described(entry) for entry in entries[3:]] == [
        ("video", "low.mp4", None, None),
        ("video", "high.mp4", None, None),
    ]
    assert written().metas == (
        ("clientManifestRelativePath", "film.ismc"),
        ("creator", "OpenOrigin"),
    )


def test_bitrates_are_measured_and_the_same_names_are_served(run: Create) -> None:
    run("-o", "film.ism", "low.mp4", "high.mp4")
    presentation = served()
    assert [one.track.average_bitrate for one in presentation.renditions] == [
        one.bitrate for one in presentation.renditions
    ]
    assert [one.name for one in presentation.renditions] == [
        entry.track_name or entry.kind.value for entry in written().entries
    ]


def test_facts_of_the_tracks(run: Create) -> None:
    run("-o", "film.ism", "deu.mp4", "wide.mp4")
    audio, video = written().entries
    assert audio.params[:-1] == (
        ("trackID", "1"),
        ("trackName", "audio_deu"),
        ("TimeScale", "44100"),
        ("SamplingRate", "44100"),
        ("Channels", "1"),
        ("BitsPerSample", "16"),
        ("PacketSize", "4"),
        ("AudioTag", "255"),
        ("FourCC", "AACL"),
    )
    assert audio.params[-1][0] == "CodecPrivateData" and audio.params[-1][1].startswith("1208")
    assert [name for name, _ in video.params] == [
        "trackID", "TimeScale", "MaxWidth", "MaxHeight", "DisplayWidth", "DisplayHeight",
        "FourCC", "CodecPrivateData",
    ]  # fmt: skip
    assert (video.param("MaxWidth"), video.param("DisplayWidth")) == ("128", "182")
    private = video.param("CodecPrivateData")
    assert private is not None and private.startswith("0000000167") and "0000000168" in private


def test_playout_options_go_into_the_head_wherever_they_stand(run: Create) -> None:
    result = run(
        "--hls.minimum_fragment_length=48/25", "low.mp4", "--mpd.segment-template", "number",
        "--hls.no_audio_only", "-o=film.ism", "--hls-client_manifest_version=4",
    )  # fmt: skip
    assert result.exit_code == 0
    assert written().options == {
        "hls_minimum_fragment_length": "48/25",
        "mpd_segment_template": "number",
        "hls_no_audio_only": "true",
        "hls_client_manifest_version": "4",
    }


def test_options_that_do_nothing_yet_are_kept_with_a_warning(run: Create) -> None:
    result = run("-o", "film.ism", "--mpd.not_known_yet=2", "low.mp4")
    assert result.exit_code == 0
    assert "mpd_not_known_yet" in result.stderr
    assert written().options == {"mpd_not_known_yet": "2"}


def test_track_options_apply_to_the_file_before_them(run: Create) -> None:
    result = run(
        "-o", "film.ism",
        "low.mp4", "--track_type=video", "--track_bitrate", "123456",
        "high.mp4", "--track_id=2", "--track_language=fra", "--track_role=commentary",
        "--track_description=Avec commentaire",
        "deu.mp4", "--track_name=narrator",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    renditions = {rendition.track.source.path: rendition for rendition in served().renditions}
    by_name = {Path(path).name: rendition for path, rendition in renditions.items()}
    assert by_name["low.mp4"].selector == "video=123456"
    french = by_name["high.mp4"]
    assert (french.name, french.language, french.role, french.label) == (
        "audio_fra", "fra", "commentary", "Avec commentaire",
    )  # fmt: skip
    assert (by_name["deu.mp4"].name, by_name["deu.mp4"].language) == ("narrator", "deu")


def test_a_file_may_be_given_twice(run: Create) -> None:
    run("-o", "film.ism", "low.mp4", "--track_id=2", "low.mp4", "--track_id=1")
    assert [entry.track_id for entry in written().entries] == [2, 1]


def test_a_name_equal_to_the_type_survives_a_language(run: Create) -> None:
    run("-o", "film.ism", "deu.mp4", "--track_name=audio")
    assert served().renditions[0].name == "audio"


def test_sources_are_relative_to_the_manifest(run: Create) -> None:
    Path("vod").mkdir()
    Path("elsewhere").mkdir()
    Path("elsewhere/link").symlink_to("../vod")
    assert run("-o", "elsewhere/link/film.ism", "low.mp4").exit_code == 0
    assert {entry.src for entry in written("vod/film.ism").entries} == {"../low.mp4"}
    assert run("-o", str(Path.cwd() / "film.ism"), str(Path.cwd() / "low.mp4")).exit_code == 0
    assert {entry.src for entry in written().entries} == {"low.mp4"}


def test_files_behind_two_dashes_are_never_options(run: Create) -> None:
    shutil.copy("low.mp4", "--hls.mp4")
    assert run("-o", "film.ism", "--", "--hls.mp4").exit_code == 0
    assert written().entries[0].src == "--hls.mp4"


def test_text_files(run: Create, tmp_path: Path) -> None:
    (tmp_path / "subs.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHi\n")
    (tmp_path / "subs.xml").write_text('<tt xml:lang="fr"><body><p end="1s">Hi</p></body></tt>')
    done = run(
        *("-o", "film.ism", "low.mp4", "subs.srt", "--track_language=deu"),
        *("--track_role=caption", "subs.xml"),
    )
    assert done.exit_code == 0, done.output
    texts = [entry for entry in written().entries if entry.kind is Kind.TEXT]
    assert [described(entry) for entry in texts] == [
        ("textstream", "subs.srt", "deu", "textstream_deu"),
        ("textstream", "subs.xml", "fr", "textstream_fr"),
    ]
    assert [entry.bitrate for entry in texts] == [1000, 1000]
    assert [entry.param("FourCC") for entry in texts] == ["WVTT", "TTML"]
    assert [entry.role for entry in texts] == ["caption", None]
    found = [one for one in served().renditions if one.kind is Kind.TEXT]
    assert [one.selector for one in found] == ["textstream_deu=1000", "textstream_fr=1000"]


def test_left_out_tracks_are_reported(run: Create) -> None:
    subprocess.run(
        ("ffmpeg", "-v", "error", "-i", "low.mp4", "-i", "text.mp4", "-map", "0", "-map", "1",
         "-c", "copy", "both.mp4"),
        check=True, timeout=180,
    )  # fmt: skip
    result = run("-o", "film.ism", "both.mp4")
    assert result.exit_code == 0
    assert "both.mp4: left out: " in result.stderr and "tx3g" in result.stderr
    assert len(written().entries) == 2


def test_an_older_manifest_is_replaced_as_a_whole(run: Create) -> None:
    Path("film.ism").write_text("old")
    umask = os.umask(0o027)
    try:
        assert run("-o", "film.ism", "low.mp4").exit_code == 0
    finally:
        os.umask(umask)
    assert len(written().entries) == 2
    assert Path("film.ism").stat().st_mode & 0o777 == 0o640
    Path("film.ism").write_text("old")
    assert run("-o", "film.ism", "low.mp4", "absent.mp4").exit_code == 1
    assert Path("film.ism").read_text() == "old"
    assert not [path for path in Path.cwd().iterdir() if path.name.startswith(".")]


REFUSED = [
    (("low.mp4",), "-o NAME.ism is missing"),
    (("-o", "film.ism"), "no media file"),
    (("-o",), "-o needs a value"),
    (("-o", "film.mp4", "low.mp4"), "ends in .ism"),
    (("-o", ".ism", "low.mp4"), "ends in .ism"),
    (("-o", "a.ism", "-o", "b.ism", "low.mp4"), "given twice"),
    (("-o", "film.ism", "absent.mp4"), "absent.mp4: "),
    (("-o", "film.ism", "."), ".: "),
    (("-o", "film.ism", "words.srt"), "words.srt: line 1: the file is neither WebVTT"),
    (("-o", "film.ism", "text.mp4"), "tx3g"),
    (("-o", "no/such/film.ism", "low.mp4"), "no such folder"),
    (("-o", "film.ism", "low.mp4", "-x"), "no option -x"),
    (("-o", "film.ism", "low.mp4", "--hsl.fmp4"), "no option --hsl.fmp4"),
    (("-o", "film.ism", "low.mp4", "--hls.minimum_fragment_length=x"), "hls_minimum"),
    (("-o", "film.ism", "low.mp4", "--hls.playout=aes128"), "hls_playout"),
    (("-o", "film.ism", "--track_id=1", "low.mp4"), "must follow the file"),
    (("-o", "film.ism", "low.mp4", "--track_id=1", "--track_id=2"), "given twice"),
    (("-o", "film.ism", "low.mp4", "--track_id=0"), "--track_id must be"),
    (("-o", "film.ism", "low.mp4", "--track_id=9"), "no track is left"),
    (("-o", "film.ism", "deu.mp4", "--track_type=video"), "no track is left"),
    (("-o", "film.ism", "low.mp4", "--track_type=data"), "audio, video or text"),
    (("-o", "film.ism", "low.mp4", "--track_name=a=b"), "--track_name must be"),
    (("-o", "film.ism", "low.mp4", "--track_language=e/n"), "--track_language must be"),
    (("-o", "film.ism", "low.mp4", "--track_bitrate=fast"), "--track_bitrate must be"),
    (("-o", "film.ism", "low.mp4", "--track_bitrate"), "--track_bitrate needs a value"),
    (("-o", "film.ism", "low.mp4", "--track_description=a\x01b"), "XML"),
]


@pytest.mark.parametrize(("arguments", "reason"), REFUSED)
def test_errors_are_one_line_and_status_1(
    run: Create, arguments: tuple[str, ...], reason: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and reason in line
    assert not Path("film.ism").exists()


def test_help(run: Create) -> None:
    for arguments in ((), ("--help",), ("low.mp4", "-h")):
        result = run(*arguments)
        assert result.exit_code == 0
        assert "--track_language" in result.stdout
