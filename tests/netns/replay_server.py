"""Who answers in the replay's world: run as ``python -m tests.netns.replay_server peer|sidecar``.

``peer`` is every other host: TCP on 9999 tells where it was called, and on 53, over UDP and
TCP, the answer to anything is its id, ``peer``, and from which port it was asked.
``sidecar`` tells on 15001 and 15006 which of the two it is, and what was dialled.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading

from tests.netns import world

IPV6_FREEBIND = 78  # linux/in6.h: local by a route is no address of an interface


def said(message: bytes, port: int) -> bytes:
    return message[:2].ljust(2, b"\0") + f"peer {port}".encode()


class Stream(socketserver.StreamRequestHandler):
    """DNS over TCP."""

    def handle(self) -> None:
        while head := self.rfile.read(2):
            message = self.rfile.read(int.from_bytes(head, "big"))
            answer = said(message, self.client_address[1])
            self.wfile.write(len(answer).to_bytes(2, "big") + answer)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    address_family = socket.AF_INET6
    request_queue_size = 128


def datagrams(family: socket.AddressFamily) -> None:
    """DNS over UDP, answered from the address that was asked."""
    one = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        one.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    else:
        one.setsockopt(socket.SOL_IP, world.IP_PKTINFO, 1)
    one.bind(("", 53))
    while True:
        data, asked, _, client = one.recvmsg(65535, 200)
        level, kind, info = asked[0]
        if family == socket.AF_INET:
            info = bytes(4) + info[4:]
        else:
            info = info[:16] + bytes(4)
        one.sendmsg([said(data, client[1])], [(level, kind, info)], 0, client)


def main(who: str) -> None:
    ready, stop = threading.Event(), threading.Event()
    ports = [9999] if who == "peer" else [15001, 15006]
    threads = [threading.Thread(target=world.serve, args=(ports, ready, stop))]
    if who == "peer":
        server = Server(("::", 53), Stream)
        threads.append(threading.Thread(target=server.serve_forever))
        for family in (socket.AF_INET, socket.AF_INET6):
            threads.append(threading.Thread(target=datagrams, args=(family,)))
    for thread in threads:
        thread.start()
    ready.wait()
    print("ready", flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1])
