"""MPDs are valid, and whatever they list can be fetched."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import pytest
from lxml import etree

from tests.support.assets import ASSETS, Asset, source_of
from tests.support.http import Client
from tests.support.mpd import NAMESPACE, SCHEMA, read
from tests.support.stack import Stack

TEMPLATES = ("time", "number", "number_timeline")


@cache
def schema() -> etree.XMLSchema:
    path = SCHEMA / "DASH-MPD.xsd"
    if not path.exists():
        pytest.skip(f"no MPEG DASH schema at {SCHEMA}: set DASH_XSD to the folder that has it")
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Beside())
    return etree.XMLSchema(etree.parse(path, parser))


class _Beside(etree.Resolver):
    """Takes imported schemas from the same folder, never from the network."""

    def resolve(self, url: str, public_id: str | None, context: object) -> object:  # type: ignore[override]
        local = SCHEMA / url.rpartition("/")[2]
        assert local.exists(), f"the schema imports {url}, which is not in {SCHEMA}"
        return self.resolve_filename(str(local), context)  # type: ignore[arg-type]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_valid_against_the_schema(
    client: Client, stack: Stack, asset: Asset, template: str
) -> None:
    body = client.get(f"{asset.path}/.mpd?mpd_segment_template={template}").body
    document = etree.fromstring(body)
    valid = schema()
    assert valid.validate(document), valid.error_log
    # GStreamer looks for the end of the root's start tag in the first 512 bytes.
    assert body.index(b">", body.index(b"<MPD")) < 512


def test_the_schema_test_can_fail(client: Client) -> None:
    document = etree.fromstring(client.get("/bframes_closed.mp4/.mpd").body)
    document.set("mediaPresentationDuration", "ten seconds")
    assert not schema().validate(document)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_everything_listed_can_be_fetched(
    client: Client, stack: Stack, asset: Asset, template: str
) -> None:
    url = f"{stack.base}{asset.path}/.mpd?mpd_segment_template={template}"
    manifest = read(client.get(url).body, url)
    assert manifest.representations
    for representation in manifest.representations:
        kind = {"audio": "audio/mp4", "video": "video/mp4"}[representation.content_type]
        for listed in (representation.init, *(s.url for s in representation.segments)):
            assert client.get(listed).headers["content-type"] == kind


@pytest.mark.parametrize("asset", ASSETS, ids=lambda asset: asset.name)
def test_audio_channel_configuration(client: Client, stack: Stack, asset: Asset) -> None:
    url = f"{stack.base}{asset.path}/.mpd"
    manifest = read(client.get(url).body, url)
    for representation in manifest.representations:
        if representation.content_type != "audio":
            continue
        (configuration,) = [
            *representation.element.iter(f"{NAMESPACE}AudioChannelConfiguration"),
            *representation.adaptation_set.findall(f"{NAMESPACE}AudioChannelConfiguration"),
        ]
        assert configuration.get("schemeIdUri") == (
            "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"
        )
        channels = int(configuration.get("value", ""))
        source = source_of(asset, "audio", height=None, channels=channels)
        assert source.channels == channels


def test_what_players_choose_by(client: Client, stack: Stack) -> None:
    url = f"{stack.base}/two_audio.ism/.mpd"
    manifest = read(client.get(url).body, url)
    found = {(r.content_type, r.attributes.get("lang")) for r in manifest.representations}
    assert {("audio", "en"), ("audio", "de"), ("video", None)} == found
    for representation in manifest.representations:
        roles = representation.adaptation_set.findall(f"{NAMESPACE}Role")
        assert [role.get("schemeIdUri") for role in roles] == ["urn:mpeg:dash:role:2011"]
    video = next(r for r in manifest.representations if r.content_type == "video")
    assert (video.attributes["width"], video.attributes["height"]) == ("320", "180")
    assert video.attributes["par"] == "16:9"
    assert video.attributes["sar"] == "1:1"
    rate = video.attributes["frameRate"]
    assert Fraction(rate) == 25
    assert video.codecs.startswith("avc1.")


def test_a_ladder_is_one_switchable_set(client: Client, stack: Stack) -> None:
    url = f"{stack.base}/ladder.ism/.mpd"
    manifest = read(client.get(url).body, url)
    video = [r for r in manifest.representations if r.content_type == "video"]
    assert len({id(r.adaptation_set) for r in video}) == 1
    assert [int(r.attributes["height"]) for r in video] == [90, 136, 180]
    assert [r.bandwidth for r in video] == sorted(r.bandwidth for r in video)
    assert video[0].adaptation_set.get("segmentAlignment") == "true"
    times = [[(s.time, s.duration) for s in r.segments] for r in video]
    assert times[0] == times[1] == times[2]
