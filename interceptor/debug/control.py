"""The command line's side of the control socket."""

from __future__ import annotations

import http.client
import json
import socket
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
    """The JSON that the daemon answers. Raises NotRunning."""
    path = run_dir / SOCKET_NAME
    connection = _Connection(path, timeout_s)
    try:
        connection.request(method, page)
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException) as error:
        raise NotRunning(path, str(error)) from error
    finally:
        connection.close()
