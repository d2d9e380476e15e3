from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.errors import ConfigError
from interceptor.mesh import nametable
from interceptor.mesh.model import Kind
from interceptor.mesh.table import MeshTable

REAL = {
    "table": {
        "reviews.bookinfo.svc.cluster.local": {
            "ips": ["10.96.14.8", "fd00::8"],
            "registry": "Kubernetes",
            "shortname": "reviews",
            "namespace": "bookinfo",
            "altHosts": ["Reviews.Bookinfo.svc.clusterset.local"],
        },
        "api.example.com": {"ips": ["240.240.0.1"], "registry": "External"},
        "*.pages.example.org": {"ips": ["240.240.0.2"], "registry": "External", "altHosts": ["x"]},
        "empty.example.com": {"registry": "External"},
        "null.example.com": {"ips": None, "registry": "External"},
    }
}


def parse(tree: object) -> MeshTable:
    return nametable.parse(json.dumps(tree).encode(), "table.json")


def problems(data: bytes) -> list[tuple[int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        nametable.parse(data, "table.json")
    assert {problem.where for problem in caught.value.problems} == {"table.json"}
    return [(problem.line, problem.key, problem.value) for problem in caught.value.problems]


def test_a_name_table_is_hosts_with_addresses() -> None:
    table = parse(REAL)
    assert set(table.hosts) == {
        "reviews.bookinfo.svc.cluster.local",
        "api.example.com",
        "*.pages.example.org",
    }
    host = table.hosts["reviews.bookinfo.svc.cluster.local"]
    assert [str(address) for address in host.addresses] == ["10.96.14.8", "fd00::8"]
    assert (host.namespace, host.kind) == ("bookinfo", Kind.NAME_TABLE)
    assert host.origin == "name table (table.json)"


def test_only_entries_of_the_kubernetes_registry_have_other_names() -> None:
    table = parse(REAL)
    host = table.hosts["reviews.bookinfo.svc.cluster.local"]
    assert host.is_kubernetes
    assert host.extra_names == ("reviews.bookinfo.svc.clusterset.local",)
    other = table.hosts["*.pages.example.org"]
    assert not other.is_kubernetes
    assert other.extra_names == ()


def test_snake_case_is_read_too() -> None:
    entry = {"ips": ["10.0.0.1"], "registry": "Kubernetes", "alt_hosts": ["b"]}
    assert parse({"table": {"a": entry}}).hosts["a"].extra_names == ("b",)


def test_hosts_that_have_not_changed_are_the_same_objects() -> None:
    book = nametable.Book("table.json")
    before = book.parse(json.dumps(REAL).encode()).hosts
    tree = json.loads(json.dumps(REAL))
    tree["table"]["api.example.com"]["ips"] = ["240.240.0.9"]
    after = book.parse(json.dumps(tree).encode()).hosts
    assert [name for name in after if after[name] is not before[name]] == ["api.example.com"]


texts = st.sampled_from(["A.b", "a.b", "c.d", "*.e", "no host!"])
infos = st.fixed_dictionaries(
    {},
    optional={
        "ips": st.lists(st.sampled_from(["10.0.0.1", "fd00::1", "nothing"]), max_size=2),
        "registry": st.sampled_from(["Kubernetes", "External", None, 1]),
        "namespace": st.sampled_from(["x", "y"]),
        "altHosts": st.lists(st.sampled_from(["f.g", "h.i"]), max_size=2),
    },
)


@given(st.lists(st.dictionaries(texts, infos, max_size=4), max_size=5))
def test_reading_again_and_again_gives_what_reading_afresh_gives(tables: list[object]) -> None:
    book = nametable.Book("table.json")
    for table in tables:
        data = json.dumps({"table": table}).encode()
        try:
            expected = nametable.parse(data, "table.json").hosts
        except ConfigError as error:
            with pytest.raises(ConfigError) as caught:
                book.parse(data)
            assert caught.value.problems == error.problems
        else:
            assert list(book.parse(data).hosts.items()) == list(expected.items())


def test_every_problem_is_told_at_once() -> None:
    table = {
        "a_b": {"ips": ["10.0.0.1"]},
        "c": {"ips": ["10.0.0.0/8", "x", "10.0.0.1"]},
        "d": {"ips": "10.0.0.1"},
        "e": 1,
        "f": {"ips": ["10.0.0.1"], "registry": "Kubernetes", "altHosts": ["-"]},
    }
    assert problems(json.dumps({"table": table}).encode()) == [
        (0, "table['a_b']", "'a_b'"),
        (0, "table['c'].ips[0]", "'10.0.0.0/8'"),
        (0, "table['c'].ips[1]", "'x'"),
        (0, "table['d'].ips", "'10.0.0.1'"),
        (0, "table['e']", "1"),
        (0, "table['f'].altHosts", "'-'"),
    ]


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"table": []}', b"null"])
def test_what_is_no_name_table_is_refused(data: bytes) -> None:
    assert problems(data) == [(0, "table", "(missing)")]


def test_what_is_not_json_is_refused_with_its_line() -> None:
    ((line, key, _),) = problems(b'{\n"table": {\n}')
    assert (line, key) == (3, "(document)")
