"""An HTTP probe's request and answer as bytes; `test_probe` has the real servers."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.workload import httpget
from interceptor.workload.httpget import Answer, NotHttp


def test_a_request_is_one_that_any_server_reads() -> None:
    lines = httpget.render("http://10.0.0.2:8080/a b?c=d", {}).decode().split("\r\n")
    assert lines[0] == "GET /a%20b?c=d HTTP/1.1"
    assert "Host: 10.0.0.2:8080" in lines
    assert "Connection: close" in lines
    assert lines[-2:] == ["", ""]
    assert httpget.render("http://h", {}).startswith(b"GET / HTTP/1.1\r\n")


def test_what_is_escaped_already_stays_so() -> None:
    assert httpget.render("http://h/a%20b", {}).startswith(b"GET /a%20b HTTP/1.1\r\n")


@given(st.dictionaries(st.text(), st.text()), st.text())
def test_nothing_makes_a_second_request_of_it(headers: dict[str, str], path: str) -> None:
    with suppress(ValueError):  # no URL
        request = httpget.render(f"http://h/{path}", headers)
        assert request.count(b"\r\n\r\n") == 1
        assert request.count(b"\nGET ") == 0


def test_an_answer_has_status_location_and_length() -> None:
    head = b"HTTP/1.1 302 Found\r\nLOCATION:  /x \r\nContent-Length: 5\r\n\r\n"
    assert httpget.decode(head) == Answer(302, "/x", 5)
    assert httpget.decode(b"HTTP/1.1 204 No Content\r\n\r\n") == Answer(204, "", 0)
    assert httpget.decode(b"HTTP/1.0 200 OK\r\n\r\n") == Answer(200)


@given(st.binary(max_size=300))
def test_no_bytes_break_it(head: bytes) -> None:
    with suppress(NotHttp):
        httpget.decode(head)


@pytest.mark.parametrize("head", [b"", b"HTTP/2 200\r\n", b"HTTP/1.1 2\r\n", b"220 smtp\r\n"])
def test_what_is_no_http_1_is_said_to_be_none(head: bytes) -> None:
    with pytest.raises(NotHttp):
        httpget.decode(head)
