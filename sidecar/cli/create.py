"""``origin create``: writes the server manifest of some media files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from sidecar.cli.create_live import EXTENSION, create_point
from sidecar.codecs.facts import AudioFacts, TextFacts, VideoFacts
from sidecar.errors import MediaError, OriginError
from sidecar.media.build import default_bitrate, track_language
from sidecar.media.index import index_media
from sidecar.media.languages import is_language
from sidecar.media.naming import described, names, unique_names
from sidecar.media.option_table import FLAG_OPTIONS, OPTIONS
from sidecar.media.options import option_name, parse_options
from sidecar.media.server_manifest import (
    MAX_BITRATE,
    Entry,
    ServerManifest,
    in_order,
    is_role,
    is_track_name,
    write_server_manifest,
)
from sidecar.media.track import Kind, MediaFile, Track
from sidecar.storage.local import open_local
from sidecar.storage.whole import write_whole
from sidecar.units import rescale

_TYPES = {"audio": Kind.AUDIO, "video": Kind.VIDEO, "text": Kind.TEXT}
_FORMATS = ("hls_", "mpd_", "iss_", "hds_")


class _Unprocessed(click.Command):
    """Hands every argument over in its order, which decides what track options apply to."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = args[: args.index("--")] if "--" in args else args
        if not before or "--help" in before or "-h" in before:
            return super().parse_args(ctx, ["--help"])
        return super().parse_args(ctx, ["--", *args])


@dataclass(slots=True, kw_only=True)
class _Input:
    """A media file as named on the command line, and the track options behind it."""

    path: str
    track: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Arguments:
    output: str = ""
    options: dict[str, str] = field(default_factory=dict)
    inputs: list[_Input] = field(default_factory=list)


@click.command(cls=_Unprocessed, options_metavar="-o NAME.ism [PLAYOUT OPTIONS]")
@click.argument(
    "arguments", nargs=-1, type=click.UNPROCESSED, metavar="FILE [TRACK OPTIONS] [FILE ...]"
)
def create(arguments: tuple[str, ...]) -> None:
    """Write the server manifest NAME.ism, which makes one presentation of the tracks of some
    media files: one entry per track, bitrates measured, languages and codecs as the media says.

    \b
    Playout options (anywhere) go into its head:
      --hls.minimum_fragment_length=48/25   --mpd.minimum_fragment_length=2
      --hls.client_manifest_version=4       --mpd.segment_template=number_timeline
      --hls.no_audio_only                   --mpd.min_buffer_time=4
      --hls.playout=false                   --mpd.playout=false
      --hls.fmp4                            --iss.client_manifest_version=22
    docs/options.md has all of them.

    With -o NAME.isml and no files it makes a publishing point, whose media comes from encoders;
    -o http://HOST/NAME.isml makes it over the API of an origin (docs/live.md):
      --archiving=true                      --dvr_window_length=600
      --archive_length=86400                --archive_segment_length=300
      --restart_on_encoder_reconnect        --time_shift=10
      --event_id=ID                         --archive_sync=fragment
      --timed_metadata                      --splice_media

    \b
    Track options apply to the file before them:
      --track_id=N             take this track only
      --track_type=TYPE        take the audio, video or text tracks only
      --track_name=NAME        its name in URLs
      --track_language=CODE    eng, zh-Hans ...
      --track_bitrate=BITS     bits per second
      --track_role=ROLE        main, alternate, commentary ...
      --track_description=TEXT its name in menus
    """
    try:
        _create(_parse(arguments))
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None


def _parse(arguments: Sequence[str]) -> _Arguments:
    parsed = _Arguments()
    waiting = list(reversed(arguments))
    only_files = False
    while waiting:
        argument = waiting.pop()
        if only_files or not argument.startswith("-") or argument == "-":
            parsed.inputs.append(_Input(path=argument))
        elif argument == "--":
            only_files = True
        elif argument.startswith("-o") and not argument.startswith("--"):
            given = argument[2:].removeprefix("=")
            _set_output(parsed, given or _value(waiting, argument))
        elif argument.startswith("--"):
            _long_option(parsed, argument, waiting)
        else:
            raise click.ClickException(f"there is no option {argument}")
    if not parsed.output:
        raise click.ClickException("-o NAME.ism is missing")
    is_live = parsed.output.endswith(EXTENSION)
    if is_live and parsed.inputs:
        raise click.ClickException(
            f"{parsed.output}: a publishing point has its media from encoders, not from files"
        )
    if not is_live and not parsed.inputs:
        raise click.ClickException("no media file is given")
    return parsed


def _long_option(parsed: _Arguments, argument: str, waiting: list[str]) -> None:
    flag, equals, text = argument.partition("=")
    name = option_name(flag.removeprefix("--"))
    if name == "output":
        _set_output(parsed, text if equals else _value(waiting, flag))
    elif name in _TRACK_OPTIONS:
        if not parsed.inputs:
            raise click.ClickException(f"{flag} must follow the file that it applies to")
        track = parsed.inputs[-1].track
        if name in track:
            raise click.ClickException(f"{flag} is given twice for {parsed.inputs[-1].path}")
        track[name] = text if equals else _value(waiting, flag)
        check, meaning = _TRACK_OPTIONS[name]
        if not check(track[name]):
            raise click.ClickException(f"{flag} must be {meaning}")
    elif name.startswith(_FORMATS) or (name in OPTIONS and OPTIONS[name].in_head):
        if name in FLAG_OPTIONS:
            text = text or "true"
        elif not equals:
            text = _value(waiting, flag)
        if name in parsed.options and name in OPTIONS and OPTIONS[name].repeats:
            text = f"{parsed.options[name]};{text}"
        parsed.options[name] = text
    else:
        raise click.ClickException(f"there is no option {flag}")


def _is_number(text: str, largest: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15 and 0 < int(text) <= largest


_TRACK_OPTIONS: dict[str, tuple[Callable[[str], bool], str]] = {
    "track_id": (lambda text: _is_number(text, 0xFFFFFFFF), "the number of a track"),
    "track_type": (lambda text: text in _TYPES, "audio, video or text"),
    "track_name": (is_track_name, "letters, digits, underscores, dashes and tildes"),
    "track_language": (is_language, "a language code"),
    "track_bitrate": (lambda text: _is_number(text, MAX_BITRATE), "bits per second"),
    "track_role": (is_role, "a role: one word"),
    "track_description": (bool, "a text"),
}


def _value(waiting: list[str], flag: str) -> str:
    if not waiting:
        raise click.ClickException(f"{flag} needs a value")
    return waiting.pop()


def _set_output(parsed: _Arguments, path: str) -> None:
    if parsed.output:
        raise click.ClickException("-o is given twice")
    name = Path(path)
    if name.suffix not in (".ism", EXTENSION) or not name.stem:
        raise click.ClickException(f"{path}: the name of a server manifest ends in .ism or .isml")
    parsed.output = path


def _create(arguments: _Arguments) -> None:
    for warning in parse_options(arguments.options, "").warnings:
        click.echo(f"warning: {warning}", err=True)
    if arguments.output.endswith(EXTENSION):
        create_point(arguments.output, arguments.options)
        return
    output = Path(arguments.output)
    if not output.parent.is_dir():
        raise click.ClickException(f"{output.parent}: no such folder")
    indexed: dict[str, MediaFile] = {}
    found: list[tuple[Entry, Track]] = []
    for given in arguments.inputs:
        if given.path not in indexed:
            indexed[given.path] = _index(given.path)
        found += _entries(given, indexed[given.path], output)
    entries = _named(found)
    manifest = ServerManifest(
        metas=(
            ("clientManifestRelativePath", f"{output.stem}.ismc"),
            ("creator", "OpenOrigin"),
            *arguments.options.items(),
        ),
        entries=tuple(entries),
    )
    write_whole(output, write_server_manifest(manifest))
    click.echo(f"{arguments.output}: {len(entries)} track{'s' if len(entries) > 1 else ''}")


def _index(path: str) -> MediaFile:
    try:
        source = open_local(path)
        try:
            media = index_media(source)
        finally:
            source.close()
    except MediaError as error:
        error.path = path
        raise
    except OriginError as error:
        raise click.ClickException(f"{path}: {error.sentence}") from None
    for reason in media.skipped:
        click.echo(f"warning: {path}: left out: {reason}", err=True)
    return media


def _entries(given: _Input, media: MediaFile, output: Path) -> list[tuple[Entry, Track]]:
    wanted_id = given.track.get("track_id")
    wanted_type = given.track.get("track_type")
    tracks = [
        track
        for track in media.tracks
        if (wanted_id is None or track.track_id == int(wanted_id))
        and (wanted_type is None or track.kind is _TYPES[wanted_type])
    ]
    if not tracks:
        wanted = " ".join(f"{name} {value}" for name, value in given.track.items())
        raise click.ClickException(f"{given.path}: no track is left to take ({wanted})")
    # Real folders, as whoever reads the manifest resolves src against its real folder.
    folder, name = os.path.split(given.path)
    src = os.path.relpath(
        Path(os.path.realpath(folder or ".")) / name, os.path.realpath(output.parent)
    )
    return [(_entry(given, track, src), track) for track in tracks]


def _entry(given: _Input, track: Track, src: str) -> Entry:
    options = given.track
    language = options.get("track_language") or track_language(track)
    params = [("trackID", str(track.track_id))]
    if "track_name" in options:
        params.append(("trackName", options["track_name"]))
    params.append(("TimeScale", str(track.timescale)))
    params += _facts(track)
    if "track_role" in options:
        params.append(("role", options["track_role"]))
    if "track_description" in options:
        params.append(("trackDescription", options["track_description"]))
    return Entry(
        kind=track.kind,
        src=src,
        bitrate=int(options.get("track_bitrate") or default_bitrate(track)),
        language=language,
        params=tuple(params),
    )


def _facts(track: Track) -> list[tuple[str, str]]:
    facts = track.facts
    params: list[tuple[str, str]] = []
    if isinstance(facts, AudioFacts):
        params += [
            ("SamplingRate", str(facts.sampling_rate)),
            ("Channels", str(facts.channels)),
            ("BitsPerSample", str(facts.bits_per_sample)),
            ("PacketSize", "4"),
            ("AudioTag", str(facts.audio_tag)),
        ]
    elif isinstance(facts, VideoFacts):
        params += [("MaxWidth", str(facts.width)), ("MaxHeight", str(facts.height))]
        horizontal, vertical = facts.pixel_aspect
        if horizontal != vertical:
            display_width = rescale(facts.width, vertical, horizontal)
            params += [("DisplayWidth", str(display_width)), ("DisplayHeight", str(facts.height))]
    params.append(("FourCC", facts.fourcc))
    if not isinstance(facts, TextFacts) and facts.codec_private_data:
        params.append(("CodecPrivateData", facts.codec_private_data.hex().upper()))
    return params


def _named(found: Sequence[tuple[Entry, Track]]) -> list[Entry]:
    """The entries in the order of manifests, their names unique, those left out that the kind alone
    implies."""
    told = [
        described(
            track,
            given=entry.track_name,
            language=entry.language,
            role=entry.role,
            label=entry.label,
            bitrate=entry.bitrate or 0,
            source=entry.src,
        )
        for entry, track in found
    ]
    named = [
        _with_name(entry, name.track_name)
        for (entry, _), name in zip(found, names(told), strict=True)
    ]
    ordered = in_order(tuple(named))
    unique = unique_names((entry.track_name or "", entry.bitrate or 0) for entry in ordered)
    return [
        _with_name(entry, None if name == entry.kind.value and not entry.language else name)
        for entry, name in zip(ordered, unique, strict=True)
    ]


def _with_name(entry: Entry, name: str | None) -> Entry:
    """``entry`` with the trackName ``name``, which stands behind its trackID; None = without."""
    params = [param for param in entry.params if param[0] != "trackName"]
    if name is not None:
        params.insert(1, ("trackName", name))
    return replace(entry, params=tuple(params))
