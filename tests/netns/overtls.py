"""A server of DNS over TLS that knows no name, and a program that asks it: two hosts of a lab."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from interceptor.host import command
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

DOT_SERVER = """
server:
  interface: 10.77.0.53@853
  tls-port: 853
  tls-service-key: "{folder}/key.pem"
  tls-service-pem: "{folder}/cert.pem"
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  directory: "{folder}"
  local-zone: "." static
remote-control:
  control-enable: no
"""

# A stub of DNS over TLS (RFC 7858): asks one name, prints the rcode, and stays connected.
DOT_CLIENT = """
import socket, ssl, sys, time
name = b"".join(bytes([len(l)]) + l.encode() for l in sys.argv[1].split(".")) + b"\\0"
query = b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + name + b"\\0\\1\\0\\1"
context = ssl._create_unverified_context()
with socket.create_connection(("10.77.0.53", 853), 5) as one, context.wrap_socket(one) as tls:
    tls.sendall(len(query).to_bytes(2, "big") + query)
    print("rcode", tls.recv(4096)[5] & 15, flush=True)
    time.sleep(30)
"""


@contextmanager
def asking(lab: Lab, name: str) -> Iterator[command.Process]:
    """A program of `vm` that has asked `dns` over TLS and stays connected; it was told that
    there is no such name."""
    folder = lab.host_folder("dns")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    out = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-subj", "/CN=dns"]
    command.run(["openssl", "req", "-x509", *curve, *out])
    (folder / "dot.conf").write_text(DOT_SERVER.format(folder=folder))
    server = lab.start("dns", ["unbound", "-d", "-c", f"{folder}/dot.conf"], "dot", detached=True)
    client = None
    try:
        see = ["ss", "-Htln", "sport", "=", ":853"]
        wait_until(lambda: ":853" in lab.run("dns", see).stdout, "the DoT server")
        argv = [sys.executable, "-c", DOT_CLIENT, name]
        client = lab.start("vm", argv, "dot-client", detached=True)
        wait_until(lambda: "rcode" in lab.log("vm", "dot-client"), "the answer over TLS")
        assert "rcode 3" in lab.log("vm", "dot-client")
        yield client
    finally:
        for each in filter(None, (client, server)):
            each.stop()
