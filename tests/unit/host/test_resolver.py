"""resolv.conf's search list, as resolvers read it."""

from __future__ import annotations

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
