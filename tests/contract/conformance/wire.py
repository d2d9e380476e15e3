"""What reaches the real resolver: tcpdump on its host, for as long as the lab is up."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from ipaddress import ip_address

from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from tests.contract.conformance import client, message, question
from tests.contract.conformance.world import SERVERS

HEADER, RECORD, ETHERNET = 24, 16, 14  # pcap-savefile(5); a frame's header
UDP = 17


class Wire:
    """Queries over UDP as they arrive at the resolver's eth0."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        folder = lab.host_folder("dns")
        lab.folder.chmod(0o755)
        self.file = folder / "wire.pcap"
        argv = ["tcpdump", "-i", "eth0", "-U", "--immediate-mode", "-n", "-Z", "root"]
        argv += ["-w", str(self.file), "udp dst port 53 or (ip[6:2] & 0x1fff != 0)"]
        lab.start("dns", argv, "tcpdump", detached=True)
        wait_until(lambda: "listening on" in lab.log("dns", "tcpdump"), "tcpdump")

    def mark(self) -> int:
        """A place in the record, to be given to `since`."""
        return self.file.stat().st_size

    def since(self, mark: int) -> list[tuple[str, bytes]]:
        """(server, DNS message) of every query that has arrived since ``mark``, in order.

        A query of a name that is nobody's is sent after them, and waited for.
        """
        token = os.urandom(8).hex()
        last = message.query(f"{token}.example")
        client.run(self.lab, "vm", question.send, SERVERS[0], (last,))
        found: list[tuple[str, bytes]] = []

        def is_here() -> bool:
            found[:] = self._read(mark)
            return any(payload == last for _, payload in found)

        wait_until(is_here, "a query at the resolver", 5)
        return [(server, payload) for server, payload in found if payload != last]

    def _read(self, at: int) -> Iterator[tuple[str, bytes]]:
        data = self.file.read_bytes()
        at = max(at, HEADER)
        while at + RECORD <= len(data):
            length = struct.unpack("<I", data[at + 8 : at + 12])[0]
            packet = data[at + RECORD + ETHERNET : at + RECORD + length]
            at += RECORD + length
            if packet[0] >> 4 == 4 and packet[9] == UDP and not packet[6] & 0x3F:
                start = (packet[0] & 15) * 4
                yield str(ip_address(packet[16:20])), packet[start + 8 :]
            elif packet[0] >> 4 == 6 and packet[6] == UDP:
                yield str(ip_address(packet[24:40])), packet[48:]
