"""resolv.conf as libc and resolvers read it: its search list and its servers."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from interceptor.host import resolver


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("nameserver 10.0.0.1\nsearch a.example B.Example.\n", ("a.example", "b.example")),
        ("domain corp.example ignored\n", ("corp.example",)),
        ("search a\nsearch b c\n", ("b", "c")),
        ("search a\ndomain b\n", ("b",)),
        ("search .\n", ()),
        ("# search x\n;search y\n", ()),
        ("", ()),
    ],
)
def test_the_last_line_counts(text: str, search: tuple[str, ...]) -> None:
    assert resolver.parse_search(text) == search


def test_a_host_without_the_file_has_no_search_list(tmp_path: Path) -> None:
    assert resolver.observe_search(tmp_path / "resolv.conf") == ()
    (tmp_path / "resolv.conf").write_text("search x.example\n")
    assert resolver.observe_search(tmp_path / "resolv.conf") == ("x.example",)


def test_where_no_server_is_named_libc_asks_this_host(tmp_path: Path) -> None:
    empty = tmp_path / "resolv.conf"
    assert resolver.observe_servers(empty, tmp_path / "none") == (ip_address("127.0.0.1"),)
    empty.write_text("search corp.example\n")
    assert resolver.observe_servers(empty, tmp_path / "none") == (ip_address("127.0.0.1"),)


def test_whom_resolved_asks_counts_where_its_stub_is_used(tmp_path: Path) -> None:
    path, upstream = tmp_path / "resolv.conf", tmp_path / "upstream"
    upstream.write_text("nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch corp.example\n")
    path.write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n")
    found = resolver.observe_servers(path, upstream)
    assert [str(each) for each in found] == ["127.0.0.53", "192.0.2.53", "2001:db8::53"]
    path.write_text("nameserver 198.51.100.1\n")
    assert resolver.observe_servers(path, upstream) == (ip_address("198.51.100.1"),)
