"""The access log's form."""

from __future__ import annotations

from envoy.extensions.access_loggers.file.v3 import file_pb2

from interceptor.sidecar import accesslog


def fields(http: bool) -> set[str]:
    (logger,) = accesslog.build("/log", "outbound", "a.example.com", http=http)
    file = file_pb2.FileAccessLog()
    assert logger.typed_config.Unpack(file)
    assert file.path == "/log"
    assert file.log_format.json_format["service"] == "a.example.com"
    return set(file.log_format.json_format)


def test_no_path_is_no_log() -> None:
    assert accesslog.build("", "outbound", "a") == []


def test_a_connection_and_a_request_are_told_with_what_they_have() -> None:
    assert {"direction", "service", "original_destination", "upstream_host"} <= fields(http=False)
    assert fields(http=True) - fields(http=False) == set(accesslog.REQUEST)
