"""Every result has a status, and live fragment errors those that players of the format expect."""

from __future__ import annotations

import pytest

from sidecar.errors import Result
from sidecar.rpc import origin_pb2
from sidecar.service.statuses import status_of


@pytest.mark.parametrize("format_name", ["", "hls", "dash", "smooth", "hds", "download"])
@pytest.mark.parametrize("result", Result)
def test_every_result_has_an_http_status(result: Result, format_name: str) -> None:
    assert 200 <= status_of(result, format_name) <= 599
    assert (status_of(result, format_name) == 200) is (result is Result.FMP4_OK)


@pytest.mark.parametrize(
    ("format_name", "not_found", "missing", "not_available"),
    [
        ("smooth", 404, 412, 412),
        ("hds", 404, 503, 503),
        ("hls", 404, 404, 404),
        ("dash", 410, 404, 404),
    ],
)
def test_fragment_errors_by_format(
    format_name: str, not_found: int, missing: int, not_available: int
) -> None:
    assert status_of(Result.FMP4_FRAGMENT_NOT_FOUND, format_name) == not_found
    assert status_of(Result.FMP4_FRAGMENT_MISSING, format_name) == missing
    assert status_of(Result.FMP4_FRAGMENT_NOT_AVAILABLE, format_name) == not_available


def test_results_are_those_of_the_contract() -> None:
    assert {result.name: result.value for result in Result} == dict(origin_pb2.Result.items())
