"""A DNS server whose whole tree is signed: the root zone, with keys of its own, by knot."""

from __future__ import annotations

from interceptor.host import command
from interceptor.lab.removal import wait_until
from tests.systemd.machine import Machine

HOST = "spare"
ADDRESS = "10.77.0.73"
ANCHOR = "/etc/dnssec-trust-anchors.d/lab.positive"

CONFIG = """
server:
    listen: {address}@53
    rundir: {folder}
database:
    storage: {folder}
zone:
  - domain: .
    storage: {folder}
    file: root.zone
    dnssec-signing: on
"""
ZONE = """
. 3600 SOA a. root. 1 7200 3600 86400 60
. 3600 NS a.
a. 3600 A {address}
www.corp.example. 60 A 10.77.0.61
api.partner.example. 60 A 10.77.0.61
"""


def serve(machine: Machine) -> str:
    """Start the server in the machine's lab, which ends it. Returns resolved's trust anchor."""
    folder = machine.lab.host_folder(HOST)
    words = {"folder": folder, "address": ADDRESS}
    config = folder / "knot.conf"
    config.write_text(CONFIG.format(**words))
    (folder / "root.zone").write_text(ZONE.format(**words))
    machine.lab.start(HOST, ["knotd", "--config", str(config)], "knotd", detached=True)
    dig = ["dig", "+short", "+dnssec", "+time=1", "+tries=1", f"@{ADDRESS}", ".", "DNSKEY"]
    wait_until(lambda: "257 3 13" in machine.run(dig, check=False).stdout, "signed zone", 30)
    keys = command.run(["keymgr", "--config", str(config), ".", "ds"]).stdout.splitlines()
    ds = next(line for line in keys if " 13 2 " in line)
    return f". IN DS {' '.join(ds.split()[2:])}\n"
