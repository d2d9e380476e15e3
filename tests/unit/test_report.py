"""What the daemon tells of itself, for each state that it can be in."""

from __future__ import annotations

import socket
import threading
from time import monotonic
from typing import cast

from interceptor import config, report
from interceptor.debug import status
from interceptor.errors import Problem
from interceptor.mesh.model import Host, Kind
from interceptor.mesh.table import MeshTable
from interceptor.source.event import Standing
from tests.unit.told import Told


def test_a_refused_document_stands_in_the_status_with_all_its_words() -> None:
    problem = Problem("a.yaml", "spec.ports[0].number", "99999", "1..65535", 6, "Service a/b")
    told = Told(problems=(problem,), rejected=1)
    tree = report.status(told)
    text = status.render(tree)
    for word in ("a.yaml", "spec.ports[0].number", "99999", "1..65535", "6", "Service a/b"):
        assert word in text


def test_a_table_s_age_counts_from_when_its_source_was_right() -> None:
    told = Told(has_table=True, told_s=monotonic() - 5)

    def row(told: Told) -> dict[str, object]:
        return cast("dict[str, object]", report.status(told)["table"])

    assert (row(told)["from"], row(told)["good_age_s"]) == ("source", 0.0)
    told.standing = Standing(held=2, recalled=0, age_s=60.0)
    assert (row(told)["from"], row(told)["held"]) == ("source", 2)
    assert 65 <= cast("float", row(told)["good_age_s"]) < 75
    told.standing = Standing(held=2, recalled=1, age_s=60.0)
    assert row(told)["from"] == "disk"


def test_the_name_table_is_istiods() -> None:
    told = Told(table=MeshTable({"a": Host("a", "n", Kind.SERVICE)}))
    assert report.name_table(told)["table"] == {
        "a": {"ips": [], "registry": "Kubernetes", "shortname": "a", "namespace": "n"}
    }


def serve_once(text: str) -> int:
    """The port of 127.0.0.1 at which one HTTP request gets ``text``."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with listener, listener.accept()[0] as client:
            client.recv(4096)
            head = f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n"
            client.sendall((head + text).encode())

    threading.Thread(target=answer, daemon=True).start()
    return int(listener.getsockname()[1])


def external(port: int) -> Told:
    flags = {"sidecar.mode": "external", "sidecar.admin_port": port}
    return Told(config=config.parse("", flags=flags))


def test_the_sidecar_s_clusters_are_those_that_carry_the_mesh() -> None:
    port = serve_once(
        "cluster.admin.upstream_rq_total: 9\n"
        "cluster.xds-grpc.upstream_cx_active: 1\n"
        "cluster.outbound|80||a;.upstream_rq_total: 3\n"
    )
    found = report.sidecar_usage(external(port))
    (cluster,) = cast("list[dict[str, object]]", found["clusters"])
    assert (cluster["cluster"], cluster["requests"]) == ("outbound|80||a", 3)
    assert found["problem"] == ""


def test_a_sidecar_that_does_not_answer_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    found = report.sidecar_usage(external(port))
    assert found["clusters"] == []
    assert str(port) in str(found["problem"])
    assert "none" in str(
        report.sidecar_usage(Told(config=config.parse("sidecar: {mode: none}")))["problem"]
    )
