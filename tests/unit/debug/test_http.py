"""Health and metrics are everybody's; the debug page and the control socket are root's."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from interceptor.debug import control, http
from interceptor.debug.http import Pages
from interceptor.debug.selection import Selection
from interceptor.errors import InterceptorError


async def told(wanted: Selection) -> AsyncGenerator[bytes, None]:
    """Two lines, and what was asked for."""
    yield b'{"left_out": 0}\n'
    yield f'{{"rate": {wanted.rate}}}\n'.encode()


def pages(*, ready: bool = True) -> Pages:
    return Pages(
        ready=lambda: (ready, "ready" if ready else "no table yet"),
        metrics=lambda: b"a 1\n",
        status=lambda: {"backend": "iptables"},
        name_table=lambda: {"table": {}},
        sidecar=lambda: {"clusters": []},
        confirm=lambda: True,
        trace=told,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def fetch(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


def exchange(tmp_path: Path, served: Pages, path: str) -> tuple[int, str]:
    async def main() -> tuple[int, str]:
        port = free_port()
        listeners = await http.serve(served, f"127.0.0.1:{port}", tmp_path / "control.sock")
        try:
            return await fetch(port, path)
        finally:
            await listeners.close()

    return asyncio.run(main())


def test_health_says_why_it_is_not_ready(tmp_path: Path) -> None:
    assert exchange(tmp_path, pages(ready=False), "/healthz/ready") == (503, "no table yet\n")
    assert exchange(tmp_path, pages(), "/healthz/ready") == (200, "ready\n")


def test_metrics_stand_under_both_paths(tmp_path: Path) -> None:
    assert exchange(tmp_path, pages(), "/metrics") == (200, "a 1\n")
    assert exchange(tmp_path, pages(), "/stats/prometheus") == (200, "a 1\n")


def test_the_debug_page_is_for_the_owner_root_only(tmp_path: Path) -> None:
    status, body = exchange(tmp_path, pages(), "/debug/ndsz")
    if os.geteuid() == 0:
        assert (status, '"table"' in body) == (200, True), body
    else:
        assert (status, f"uid {os.geteuid()}" in body) == (403, True), body


def test_a_taken_port_is_an_error_that_says_which_setting_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InterceptorError, match=r"agent\.listen"):
            asyncio.run(http.serve(pages(), listen, tmp_path / "control.sock"))


def test_the_control_socket_is_roots_alone_and_goes_with_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def main() -> tuple[object, object, int]:
        listeners = await http.serve(pages(), f"127.0.0.1:{free_port()}", path)
        try:
            status = await asyncio.to_thread(control.request, tmp_path, "GET", "/status")
            confirmed = await asyncio.to_thread(control.request, tmp_path, "POST", "/confirm")
            return status, confirmed, path.stat().st_mode & 0o777
        finally:
            await listeners.close()

    assert asyncio.run(main()) == ({"backend": "iptables"}, {"confirmed": True}, 0o600)
    assert not path.exists()


def test_the_control_socket_has_the_figures_and_the_sidecar_s_clusters(tmp_path: Path) -> None:
    async def main() -> tuple[str, object]:
        listeners = await http.serve(pages(), f"127.0.0.1:{free_port()}", tmp_path / "control.sock")
        try:
            figures = await asyncio.to_thread(control.fetch, tmp_path, "/metrics")
            return figures, await asyncio.to_thread(control.request, tmp_path, "GET", "/sidecar")
        finally:
            await listeners.close()

    assert asyncio.run(main()) == ("a 1\n", {"clusters": []})


def test_a_page_that_an_older_daemon_does_not_have_is_said_to_be_missing(tmp_path: Path) -> None:
    async def main() -> None:
        listeners = await http.serve(pages(), f"127.0.0.1:{free_port()}", tmp_path / "control.sock")
        try:
            await asyncio.to_thread(control.fetch, tmp_path, "/figures")
        finally:
            await listeners.close()

    with pytest.raises(InterceptorError, match="404"):
        asyncio.run(main())


def test_a_sidecar_s_clusters_are_not_everybodys(tmp_path: Path) -> None:
    assert exchange(tmp_path, pages(), "/sidecar")[0] == 404


def test_no_daemon_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(control.NotRunning, match="interceptor run"):
        control.request(tmp_path, "GET", "/status")


def stream(tmp_path: Path, page: str) -> list[dict[str, object]]:
    """What the command line reads of a page of the control socket."""

    async def main() -> list[dict[str, object]]:
        listeners = await http.serve(pages(), f"127.0.0.1:{free_port()}", tmp_path / "control.sock")
        try:
            return await asyncio.to_thread(lambda: list(control.stream(tmp_path, page)))
        finally:
            await listeners.close()

    return asyncio.run(main())


def test_a_trace_is_lines_until_it_ends(tmp_path: Path) -> None:
    assert stream(tmp_path, "/trace?rate=7") == [{"left_out": 0}, {"rate": 7}]


def test_a_trace_that_nobody_can_give_is_refused_with_what_is_legal(tmp_path: Path) -> None:
    with pytest.raises(InterceptorError, match="legal: answer"):
        stream(tmp_path, "/trace?verdict=yes")
    with pytest.raises(InterceptorError, match="404"):
        stream(tmp_path, "/trails")


def test_a_trace_is_not_told_to_everybody(tmp_path: Path) -> None:
    assert exchange(tmp_path, pages(), "/trace")[0] == 404
