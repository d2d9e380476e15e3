"""The access log: one JSON line a request or connection, with the service's name."""

from __future__ import annotations

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import substitution_format_string_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2

from interceptor.sidecar.resource import pack

CONNECTION = {
    "start_time": "%START_TIME%",
    "flags": "%RESPONSE_FLAGS%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_local": "%UPSTREAM_LOCAL_ADDRESS%",
    "original_destination": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
}
REQUEST = {
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "authority": "%REQ(:AUTHORITY)%",
    "status": "%RESPONSE_CODE%",
    "status_details": "%RESPONSE_CODE_DETAILS%",
    "upstream_ms": "%RESPONSE_DURATION%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "user_agent": "%REQ(USER-AGENT)%",
}


def build(
    path: str, direction: str, service: str, *, http: bool = False
) -> list[accesslog_pb2.AccessLog]:
    """The loggers of one filter: none for an empty ``path``.

    ``service`` is the host's name, ``-`` where the mesh knows none.
    """
    if not path:
        return []
    fields = {"direction": direction, "service": service} | (REQUEST if http else {}) | CONNECTION
    form = substitution_format_string_pb2.SubstitutionFormatString()
    form.json_format.update(fields)
    logger = file_pb2.FileAccessLog(path=path, log_format=form)
    return [
        accesslog_pb2.AccessLog(name="envoy.access_loggers.file", typed_config=pack(logger)),
    ]
