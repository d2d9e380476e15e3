"""The command line's side of the control socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

from interceptor.errors import InterceptorError

SOCKET_NAME = "control.sock"


class NotRunning(InterceptorError):
    """No daemon answers on the control socket."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"no daemon answers on {path} ({reason}); start one with `interceptor run`, "
            "or name its configuration with --config"
        )


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def request(run_dir: Path, method: str, page: str, timeout_s: float = 5) -> object:
    """The JSON that the daemon answers. Raises NotRunning, and InterceptorError where the daemon
    refuses."""
    return json.loads(_ask(run_dir, method, page, timeout_s))


def fetch(run_dir: Path, page: str, timeout_s: float = 5) -> str:
    """The text of a page. Raises as `request`."""
    return _ask(run_dir, "GET", page, timeout_s).decode()


def _ask(run_dir: Path, method: str, page: str, timeout_s: float) -> bytes:
    path = run_dir / SOCKET_NAME
    connection = _Connection(path, timeout_s)
    try:
        connection.request(method, page)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise InterceptorError(_refusal(response))
        return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotRunning(path, str(error)) from error
    finally:
        connection.close()


def stream(run_dir: Path, page: str, timeout_s: float = 10) -> Iterator[dict[str, object]]:
    """Each line of a page that goes on, as JSON, until the daemon ends it. ``timeout_s`` bounds
    the silence between two. Raises NotRunning, and InterceptorError where the daemon refuses
    or breaks off."""
    path = run_dir / SOCKET_NAME
    connection = _Connection(path, timeout_s)
    try:
        try:
            connection.request("GET", page)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise NotRunning(path, str(error)) from error
        if response.status != http.client.OK:
            raise InterceptorError(_refusal(response))
        try:
            for line in response:
                yield json.loads(line)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise InterceptorError(f"the daemon broke off: {error or 'no more lines'}") from error
    finally:
        connection.close()


def _refusal(response: http.client.HTTPResponse) -> str:
    try:
        return str(json.loads(response.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"the daemon answers {response.status} {response.reason}; is it an older one?"
