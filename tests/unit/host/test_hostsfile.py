"""/etc/hosts is read as hosts(5) says."""

from __future__ import annotations

from pathlib import Path

from interceptor.host import hostsfile

TEXT = """\
127.0.0.1 localhost
10.9.9.9  Reviews.bookinfo  reviews # an old trick
fe80::1%eth0 reviews
no-address reviews
# 10.8.8.8 reviews
"""


def test_every_address_of_a_name_is_found_whatever_the_case() -> None:
    assert hostsfile.parse(TEXT, "reviews.bookinfo") == ("10.9.9.9",)
    assert hostsfile.parse(TEXT, "reviews") == ("10.9.9.9", "fe80::1")
    assert hostsfile.parse(TEXT, "ratings") == ()


def test_a_file_that_is_not_there_names_nobody(tmp_path: Path) -> None:
    assert hostsfile.observe("localhost", tmp_path / "hosts") == ()
