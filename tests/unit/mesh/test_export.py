"""The mesh table in the forms that other programs read."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

import orjson
import pytest

from interceptor.mesh import export
from interceptor.mesh.model import Host, Kind, Port
from interceptor.mesh.table import MeshTable

REVIEWS = Host(
    "reviews.bookinfo.svc.cluster.local",
    "bookinfo",
    Kind.SERVICE,
    (ip_address("10.0.0.7"), ip_address("2001:db8::7")),
    (Port("http", 9080),),
)
WILD = Host("*.example.com", "bookinfo", Kind.SERVICE_ENTRY, (IPv4Address("10.1.1.1"),))
TABLE = MeshTable({host.name: host for host in (REVIEWS, WILD)})


def test_a_hosts_file_has_a_line_an_address_and_no_wildcards() -> None:
    assert export.hosts_file(TABLE) == (
        "10.0.0.7 reviews.bookinfo.svc.cluster.local\n"
        "2001:db8::7 reviews.bookinfo.svc.cluster.local\n"
    )


def test_the_name_table_is_istiods() -> None:
    assert export.name_table(TABLE) == {
        "table": {
            "reviews.bookinfo.svc.cluster.local": {
                "ips": ["10.0.0.7", "2001:db8::7"],
                "registry": "Kubernetes",
                "shortname": "reviews",
                "namespace": "bookinfo",
            },
            "*.example.com": {"ips": ["10.1.1.1"], "registry": "External"},
        }
    }


def test_every_value_of_the_model_has_a_plain_form() -> None:
    text = orjson.dumps([REVIEWS, ip_network("10.0.0.0/8")], default=export.plain)
    host, network = orjson.loads(text)
    assert (host["kind"], host["addresses"][0], network) == ("Service", "10.0.0.7", "10.0.0.0/8")


def test_what_is_not_of_the_model_is_refused() -> None:
    with pytest.raises(TypeError):
        export.plain(object())


def test_a_summary_counts_endpoints() -> None:
    assert export.summary(REVIEWS)["endpoints"] == 0
