"""The TCP connections of this host as `ss` tells them: ends, device, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from interceptor.host import command

_USER = re.compile(r'\(\("([^"]*)",pid=(\d+)')


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection. ``device`` is the one its socket is bound to, ``pid`` 0 where unknown."""

    state: str
    local: str
    remote: str
    port: int
    device: str = ""
    comm: str = ""
    pid: int = 0

    def text(self) -> str:
        """For people: whose it is, and where it leads."""
        who = f"{self.comm} (pid {self.pid})" if self.pid else "a process"
        return f"{who} to {self.remote} port {self.port}, {self.state}"


def observe(destination: str = "", port: int = 0) -> tuple[Connection, ...]:
    """Connections (no listeners) to an address and port. Without root nobody's name is told."""
    words = ["dst", destination] if destination else []
    words += ["dport", "=", f":{port}"] if port else []
    done = command.run(["ss", "-H", "-t", "-n", "-p", *words], check=False)
    return tuple(parse(done.stdout))


def parse(text: str) -> Iterator[Connection]:
    """Read `ss -H -t -n -p`."""
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 5:
            continue
        local, _, _ = fields[3].rpartition(":")
        remote, _, port = fields[4].rpartition(":")
        user = _USER.search(fields[5]) if len(fields) > 5 else None
        address, _, device = local.strip("[]").partition("%")
        yield Connection(
            state=fields[0].lower(),
            local=address.strip("[]"),
            remote=remote.partition("%")[0].strip("[]"),
            port=int(port) if port.isdigit() else 0,
            device=device.strip("[]"),
            comm=user[1] if user else "",
            pid=int(user[2]) if user else 0,
        )
