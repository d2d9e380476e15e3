from __future__ import annotations

import json
from ipaddress import IPv4Address
from pathlib import Path

from interceptor.lab.bench import member


def test_a_name_table_is_what_istiod_prints() -> None:
    text = member.render_nametable([("a.example", IPv4Address("10.0.0.1"))])
    assert json.loads(text) == {
        "table": {"a.example": {"ips": ["10.0.0.1"], "registry": "External"}}
    }


def test_a_file_is_replaced_and_nothing_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    before = file.stat().st_ino
    member.replace(file, "new")
    assert file.read_text() == "new"
    assert file.stat().st_ino != before, "renamed, not written over"
    assert list(tmp_path.iterdir()) == [file]


def test_the_last_line_of_a_log_is_why_it_ended() -> None:
    assert member.last_line("one\ntwo\n\n") == "two"
    assert member.last_line("") == "no log"
