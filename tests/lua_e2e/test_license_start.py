"""What nginx does with the license key at its start and at reloads, before any client comes."""

from __future__ import annotations

import os
import signal

from sidecar.rpc import origin_pb2 as pb
from tests.support.fake_sidecar import FakeStack, inline, refusal, source_of
from tests.support.stack import eventually


def keys(requests: list[pb.PlanRequest]) -> list[list[str]]:
    """The texts that came with each of them."""
    return [
        [text for given in one.directives if given.name == "usp_license_key" for text in given.args]
        for one in requests
    ]


def reload(stack: FakeStack, key: str) -> None:
    """Returns when a worker of the new configuration has asked."""
    (stack.root / "license" / "license.key").write_text(key)
    stack.sidecar.verified.clear()
    os.kill(stack.process.pid, signal.SIGHUP)
    eventually(lambda: bool(stack.sidecar.verified), "the question about the key")


def test_the_key_is_verified_before_a_client_comes(stack: FakeStack) -> None:
    eventually(lambda: bool(stack.sidecar.verified), "the question about the key")
    assert keys(stack.sidecar.verified) == [["a key\n"]]
    assert not stack.complaints()

    stack.sidecar.verdict = refusal(pb.FMP4_NO_LICENSE, 403, "streaming needs a license key: why")
    reload(stack, "another\n")
    line = "streaming needs a license key: why (usp_license_key license/license.key)"
    eventually(lambda: line in stack.error_log(), "the line")
    assert keys(stack.sidecar.verified) == [["another\n"]]
    assert not stack.sidecar.calls, "no client has come"
    assert [line for line in stack.complaints() if "license" not in line] == []


def test_refusals_are_told_of_once_a_minute(stack: FakeStack) -> None:
    stack.sidecar.answer = lambda request, context: pb.PlanReply(plan=stack.sidecar.verdict)
    told = stack.error_log().count("streaming needs")
    for number in range(5):
        answer = stack.client().request(f"/{number}.ism/.mpd")
        assert (answer.status, answer.text) == (403, "streaming needs a license key: why\n")
    assert stack.error_log().count("streaming needs") == told == 1


def test_plans_of_another_key_are_not_used(stack: FakeStack) -> None:
    source = stack.media / "a.mp4"
    source.write_bytes(b"x")
    stack.sidecar.verdict = refusal(pb.FMP4_METHOD_NOT_ALLOWED, 405, "only GET")
    stack.sidecar.answer = lambda request, context: pb.PlanReply(
        plan=inline(
            keys([request])[0][0].encode(), sources=[source_of(source)], cache_class=pb.CACHE_MEDIA
        )
    )
    for key in ("first\n", "second\n", "first\n"):
        reload(stack, key)

        def answered(key: str = key) -> bool:
            client = stack.client()
            texts = {client.get("/a.ism/.mpd").text for _ in range(3)}
            client.close()
            return texts == {key}

        eventually(answered, "answers of the new workers")
    asked = [text for (text,) in keys(stack.sidecar.calls)]
    assert asked.count("first\n") == 1, "the memory that workers share survives reloads"
    assert asked.count("second\n") == 1


def test_a_sidecar_that_comes_later_is_asked(stack: FakeStack) -> None:
    stack.sidecar.stop()
    stack.sidecar.verified.clear()
    before = stack.workers
    os.kill(stack.process.pid, signal.SIGHUP)
    eventually(lambda: bool(set(stack.workers) - set(before)), "new workers")
    stack.sidecar.start()
    eventually(lambda: bool(stack.sidecar.verified), "the question about the key")
