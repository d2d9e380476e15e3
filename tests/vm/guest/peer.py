"""What is around the agent in the machine: a resolver and a service that a peer has.

The peer is a network namespace of the guest, behind its only uplink, and comes up with each
boot. The guest's own units see all of it as a network. Everything here is plain text.
"""

from __future__ import annotations

from textwrap import dedent

OWN, PEER = "198.51.100.1", "198.51.100.53"
MESH_NAME, VIP = "shop.mesh.test", "10.96.7.7"
OTHER_NAME, OTHER_ADDRESS = "elsewhere.test", "203.0.113.9"
NOT_THE_MESH = "203.0.113.66"
"""What the resolver says of the mesh's name: who sees it has not been captured."""

WEB_PORT, LINE_PORT = 8080, 7000
FIRST_ANSWER = "/var/lib/first/answer"
MAC, LINK_LOCAL = "02:00:00:00:51:01", "fe80::ff:fe00:5101"

UP = f"""\
#!/bin/sh
set -eu
ip netns add peer
# The same after each boot, and so its addresses: a look at the host is compared.
ip link add up0 address {MAC} type veth peer name up1 netns peer
sysctl -qw net.ipv6.conf.up0.accept_dad=0
ip -n peer link set lo up
ip -n peer addr add {PEER}/24 dev up1
ip -n peer addr add fd00:51::53/64 dev up1 nodad
ip -n peer link set up1 up
ip addr add {OWN}/24 dev up0
ip addr add fd00:51::1/64 dev up0 nodad
ip link set up0 up
ip route add default via {PEER}
ip -6 route add default via fd00:51::53
"""

UP_UNIT = """\
[Unit]
Description=the uplink and the peer behind it
DefaultDependencies=no
After=systemd-sysctl.service
Wants=network.target
After=network-pre.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/peer-up
[Install]
WantedBy=multi-user.target
"""

DNS = f"""\
no-resolv
no-hosts
bind-interfaces
listen-address={PEER},fd00:51::53
address=/{OTHER_NAME}/{OTHER_ADDRESS}
address=/{MESH_NAME}/{NOT_THE_MESH}
local=/test/
user=root
pid-file=
"""

LISTENER = f'''\
"""HTTP on {WEB_PORT}: tells the host that was asked for. TCP on {LINE_PORT}: echoes lines."""
import http.server, socketserver, threading

class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = ("shop " + self.headers.get("Host", "")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass

class Line(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)

class Lines(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True

threading.Thread(target=Lines(("", {LINE_PORT}), Line).serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("", {WEB_PORT}), Web).serve_forever()
'''

ASKER_LOG = "/run/asker.log"
ASKER = f'''\
"""Asks the resolver for each name given, again and again; writes when, which, and the answer."""
import socket, struct, sys, threading, time

def ask(name, number):
    labels = b"".join(bytes([len(word)]) + word for word in name.encode().split(b"."))
    query = struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + labels + b"\\0\\0\\1\\0\\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(1)
        try:
            one.sendto(query, ("{PEER}", 53))
            answer = one.recv(512)
        except OSError as error:
            return type(error).__name__
    good = answer[:2] == query[:2] and answer[6:8] == b"\\0\\1"
    return socket.inet_ntoa(answer[-4:]) if good else answer.hex()

def loop(name, number=0):
    while True:
        number = (number + 1) % 65536
        at = time.monotonic()
        print(f"{{at:.3f}}", name, ask(name, number), flush=True)
        time.sleep(0.1)

for name in sys.argv[1:]:
    threading.Thread(target=loop, args=(name,)).start()
'''


def unit(description: str, command: str) -> str:
    """A service in the peer's namespace."""
    return dedent(f"""\
        [Unit]
        Description={description}
        DefaultDependencies=no
        Requires=peer.service
        After=peer.service
        Before=network.target
        [Service]
        NetworkNamespacePath=/run/netns/peer
        ExecStart={command}
        [Install]
        WantedBy=multi-user.target
        """)


FIRST_UNIT = f"""\
[Unit]
Description=the first application: asks for a name as soon as it may expect a network
After=network-online.target nss-lookup.target
Wants=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
StateDirectory=first
ExecStart=sh -c 'getent ahostsv4 {MESH_NAME} >{FIRST_ANSWER} || echo nothing >{FIRST_ANSWER}'
[Install]
WantedBy=multi-user.target
"""

MESH = f"""\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: default}}
spec:
  hosts: [{MESH_NAME}]
  addresses: ["{VIP}"]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
    - {{number: {WEB_PORT}, name: http, protocol: HTTP}}
    - {{number: {LINE_PORT}, name: tcp, protocol: TCP}}
  endpoints:
    - address: {PEER}
"""

UNITS = {
    "peer": UP_UNIT,
    "peer-dns": unit("a resolver", "dnsmasq --keep-in-foreground --conf-file=/etc/peer-dns.conf"),
    "peer-listener": unit("a service", "/usr/bin/python3 /usr/local/lib/peer-listener.py"),
    "first": FIRST_UNIT,
}
FILES = {
    "/usr/local/sbin/peer-up": UP,
    "/usr/local/lib/peer-listener.py": LISTENER,
    "/usr/local/lib/asker.py": ASKER,
    "/etc/peer-dns.conf": DNS,
    "/etc/interceptor/mesh/shop.yaml": MESH,
    **{f"/etc/systemd/system/{name}.service": text for name, text in UNITS.items()},
}
