"""Server manifests: those of packagers, hand-written ones, damaged ones, and what is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from sidecar.errors import InvalidMedia
from sidecar.media.server_manifest import (
    MAX_BYTES,
    MAX_ENTRIES,
    Entry,
    ParamGroup,
    ServerManifest,
    in_order,
    read_server_manifest,
    write_server_manifest,
)
from sidecar.media.track import Kind

PACKAGED = b"""<?xml version="1.0" encoding="utf-8"?>
<!-- Created by a packager -->
<smil xmlns="http://www.w3.org/2001/SMIL20/Language">
  <head>
    <meta name="clientManifestRelativePath" content="film.ismc" />
    <meta name="creator" content="A packager" />
    <meta name="hls_minimum_fragment_length" content="48/25" />
    <meta name="something.new-here" content="7" />
    <paramGroup id="hls">
      <meta name="key" content=":00112233445566778899AABBCCDDEEFF" />
      <meta name="key_iv" content="01" />
    </paramGroup>
  </head>
  <body>
    <switch>
      <audio src="film-64k.isma" systemBitrate="64008" systemLanguage="eng">
        <param name="trackID" value="2" valueType="data" />
        <param name="trackName" value="audio_eng" valueType="data" />
        <param name="FourCC" value="AACL" valueType="data" />
        <param name="CodecPrivateData" value="1190" valueType="data" />
      </audio>
      <textstream src="film-zh.ismt" systemBitrate="1000" systemLanguage="zh-Hans">
        <param name="trackID" value="1" valueType="data" />
        <param name="trackName" value="textstream_zh-Hans" valueType="data" />
      </textstream>
      <video src="film-400k.ismv" systemBitrate="401000">
        <param name="trackID" value="1" valueType="data" />
      </video>
    </switch>
  </body>
</smil>
"""
MINIMAL = b'<smil><body><switch><video src="a.mp4"/></switch></body></smil>'


def read(data: bytes) -> ServerManifest:
    return read_server_manifest(data, path="/srv/media/film.ism")


def body(inside: str) -> bytes:
    return f"<smil><head/><body><switch>\n{inside}\n</switch></body></smil>".encode()


def test_a_packagers_manifest() -> None:
    manifest = read(PACKAGED)
    assert manifest.options == {"hls_minimum_fragment_length": "48/25", "something_new_here": "7"}
    assert [meta[0] for meta in manifest.metas][:2] == ["clientManifestRelativePath", "creator"]
    assert manifest.param_groups == (
        ParamGroup(
            id="hls",
            metas=(("key", ":00112233445566778899AABBCCDDEEFF"), ("key_iv", "01")),
        ),
    )
    audio, text, video = manifest.entries
    assert (audio.kind, audio.src, audio.bitrate) == (Kind.AUDIO, "film-64k.isma", 64008)
    assert (audio.language, audio.track_id, audio.track_name) == ("eng", 2, "audio_eng")
    assert audio.param("codecprivatedata") == "1190"
    assert (text.kind, text.language, text.track_name) == (
        Kind.TEXT, "zh-Hans", "textstream_zh-Hans",
    )  # fmt: skip
    assert (video.language, video.track_name, video.line) == (None, None, 26)


@pytest.mark.parametrize(
    "data",
    [
        MINIMAL,
        b"\xef\xbb\xbf" + MINIMAL,
        MINIMAL.decode().encode("utf-16"),
        b'<s:smil xmlns:s="urn:x"><s:body><s:switch><s:video src=" a.mp4 "/>'
        b"</s:switch></s:body></s:smil>",
        b'<smil><body><video src="a.mp4"/></body></smil>',
        b'<smil><!-- c --><?pi x?><head/><body><switch><!-- c --><img src="x"/>'
        b'<video src="a.mp4"><!-- c --><switch/></video></switch></body></smil>',
    ],
)
def test_hand_written_ones(data: bytes) -> None:
    assert read(data).entries == (Entry(kind=Kind.VIDEO, src="a.mp4"),)


def test_spellings_of_other_writers() -> None:
    entry = read(
        body('<audio src="a.mp4" system-bitrate="64000" system-language="deu"><param '
             'name="trackID" value=" 2 " valuetype="data"/></audio>')
    ).entries[0]  # fmt: skip
    assert (entry.bitrate, entry.language, entry.track_id) == (64000, "deu", 2)
    entry = read(
        body('<audio src="a.mp4"><param name="systemBitrate" value="5"/><param '
             'name="systemLanguage" value="fra"/><param name="trackName" value=""/></audio>')
    ).entries[0]  # fmt: skip
    assert (entry.bitrate, entry.language, entry.track_name) == (5, "fra", None)


@pytest.mark.parametrize("language", ["", "und", "UND"])
def test_no_language(language: str) -> None:
    assert read(body(f'<video src="a" systemLanguage="{language}"/>')).entries[0].language is None


def test_role_and_label() -> None:
    entry = read(
        body('<audio src="a"><param name="role" value="commentary"/><param '
             'name="trackDescription" value="The &quot;director&quot;&#10;speaks "/></audio>')
    ).entries[0]  # fmt: skip
    assert (entry.role, entry.label) == ("commentary", "The 'director' speaks")


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ("<video/>", "line 2 .* no src"),
        ('\n<video src=" "/>', "line 3 .* no src"),
        ('<video src="a" systemBitrate="0"/>', "line 2 .*systemBitrate"),
        ('<video src="a" systemBitrate="-5"/>', "systemBitrate"),
        ('<video src="a" systemBitrate="1e6"/>', "systemBitrate"),
        ('<video src="a" systemBitrate="٣"/>', "systemBitrate"),
        (f'<video src="a" systemBitrate="{"9" * 5000}"/>', "systemBitrate"),
        ('<video src="a" systemLanguage="e n"/>', "systemLanguage"),
        ('<video src="a"><param name="trackID" value="one"/></video>', "trackID"),
        ('<video src="a"><param name="trackID" value="4294967296"/></video>', "trackID"),
        ('<video src="a"><param name="trackName" value="a=b"/></video>', "trackName"),
        ('<video src="a"><param name="trackName" value="../x"/></video>', "trackName"),
        ('<video src="a"><param name="trackName" value="a.b"/></video>', "trackName"),
        ('<video src="a"><param name="role" value="a b"/></video>', "role"),
        ('<video src="a"><param value="1"/></video>', "param element has no name"),
        ("<video src='a'>\n\n</audio>", "line 4 of the server manifest: Opening and ending"),
        ("&unknown;", "line 2 of the server manifest: Entity"),
    ],
)
def test_faults_are_named_with_their_line(inside: str, reason: str) -> None:
    with pytest.raises(InvalidMedia, match=reason) as caught:
        read(body(inside))
    assert caught.value.path == "/srv/media/film.ism"
    assert "/srv" not in caught.value.sentence
    assert len(caught.value.sentence) < 300


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"not xml",
        b"<html/>",
        b"<smil><head><meta content='x'/></head></smil>",
        b"<smil>" * 400,
        b'<?xml version="1.0" encoding="nonsense"?><smil/>',
        b"<smil>" + b" " * MAX_BYTES + b"</smil>",
        body('<video src="a"/>' * (MAX_ENTRIES + 1)),
    ],
)
def test_what_is_no_server_manifest(data: bytes) -> None:
    with pytest.raises(InvalidMedia):
        read(data)


BOMB = (
    '<!DOCTYPE smil [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
    '<smil><body><switch><video src="&c;"/></switch></body></smil>'
)
EXTERNAL = (
    '<!DOCTYPE smil [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    '<smil><body><switch><video src="a"><param name="p" value="&x;"/></video>'
    "</switch></body></smil>"
)


@pytest.mark.parametrize("text", [BOMB, EXTERNAL, "<!doctype smil><smil/>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32"])
def test_entities_are_never_expanded(text: str, encoding: str) -> None:
    with pytest.raises(InvalidMedia):
        read(text.encode(encoding))


TEXT = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=4).map(tuple)
PARAMS = st.lists(
    st.tuples(TEXT.filter(lambda name: not name.lower().startswith(("track", "role", "system"))),
              TEXT),
    max_size=3,
)  # fmt: skip
ENTRIES = st.builds(
    lambda kind, src, bitrate, language, track_id, params: Entry(
        kind=kind,
        src=src,
        bitrate=bitrate,
        language=language,
        params=(("trackID", str(track_id)), *params),
    ),
    st.sampled_from(Kind),
    TEXT.filter(lambda src: src == src.strip() and bool(src.strip())),
    st.none() | st.integers(1, 10**12),
    st.none() | st.sampled_from(["eng", "zh-Hans", "pt-BR"]),
    st.integers(1, 9),
    PARAMS,
)
MANIFESTS = st.builds(
    ServerManifest,
    metas=PAIRS,
    param_groups=st.lists(st.builds(ParamGroup, id=TEXT, metas=PAIRS), max_size=2).map(tuple),
    entries=st.lists(ENTRIES, max_size=5).map(tuple),
)


@given(MANIFESTS)
def test_what_is_written_is_read(manifest: ServerManifest) -> None:
    again = read(write_server_manifest(manifest))
    assert again.metas == manifest.metas
    assert again.param_groups == manifest.param_groups
    assert again.entries == in_order(manifest.entries)
    assert write_server_manifest(again) == write_server_manifest(manifest)


def test_line_breaks_in_values_survive() -> None:
    manifest = ServerManifest(metas=(("a", "x\n\t\r\"'<&>y"),))
    assert read(write_server_manifest(manifest)).metas == manifest.metas


@pytest.mark.parametrize("character", ["\0", "\x0b", "\ud800", "\uffff"])
def test_what_xml_cannot_hold_is_refused(character: str) -> None:
    with pytest.raises(InvalidMedia):
        write_server_manifest(ServerManifest(metas=(("a", character),)))


def test_the_written_shape() -> None:
    manifest = ServerManifest(
        metas=(("creator", "me"),),
        param_groups=(ParamGroup(id="hls", metas=(("key", "k"),)),),
        entries=(
            Entry(kind=Kind.VIDEO, src="b.mp4", bitrate=900),
            Entry(kind=Kind.VIDEO, src="a.mp4", bitrate=100, params=(("trackID", "1"),)),
            Entry(kind=Kind.TEXT, src="t.mp4", bitrate=5),
            Entry(kind=Kind.AUDIO, src="a&b.mp4", bitrate=64, language="eng"),
        ),
    )
    assert write_server_manifest(manifest).decode() == (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        "<!-- Created with OpenOrigin -->\n"
        '<smil xmlns="http://www.w3.org/2001/SMIL20/Language">\n'
        "  <head>\n"
        '    <meta name="creator" content="me" />\n'
        '    <paramGroup id="hls">\n'
        '      <meta name="key" content="k" />\n'
        "    </paramGroup>\n"
        "  </head>\n"
        "  <body>\n"
        "    <switch>\n"
        '      <audio src="a&amp;b.mp4" systemBitrate="64" systemLanguage="eng" />\n'
        '      <textstream src="t.mp4" systemBitrate="5" />\n'
        '      <video src="a.mp4" systemBitrate="100">\n'
        '        <param name="trackID" value="1" valueType="data" />\n'
        "      </video>\n"
        '      <video src="b.mp4" systemBitrate="900" />\n'
        "    </switch>\n"
        "  </body>\n"
        "</smil>\n"
    )


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_manifest_or_our_error(noise: bytes) -> None:
    for data in (noise, PACKAGED[:700] + noise + PACKAGED[700:], MINIMAL[:20] + noise):
        try:
            manifest = read(data)
        except InvalidMedia:
            continue
        assert etree.fromstring(write_server_manifest(manifest)) is not None
