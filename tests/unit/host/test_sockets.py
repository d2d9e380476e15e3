"""What `ss` prints of connections, read back."""

from __future__ import annotations

from interceptor.host import sockets
from interceptor.host.sockets import Connection

TEXT = """\
ESTAB    0 0     10.77.0.10:41234       10.77.0.53:853   users:(("python3",pid=77,fd=3))
SYN-SENT 0 1     10.77.0.10%eth0:41236  10.96.0.11:9080  users:(("curl",pid=78,fd=5))
ESTAB    0 0     [fd77::10]%eth0:41238  [fd96::11]:9080
ESTAB    0 0     [::ffff:10.77.0.10]:41240  [::ffff:10.96.0.11]:9080
"""


def test_ends_devices_and_owners_are_read() -> None:
    first, second, third, fourth = sockets.parse(TEXT)
    assert first == Connection("estab", "10.77.0.10", "10.77.0.53", 853, "", "python3", 77)
    assert (second.device, second.remote, second.comm) == ("eth0", "10.96.0.11", "curl")
    assert (third.device, third.remote, third.pid) == ("eth0", "fd96::11", 0)
    assert fourth.remote == "::ffff:10.96.0.11"


def test_a_connection_says_whose_it_is() -> None:
    found = [each.text() for each in sockets.parse(TEXT)]
    assert found[0] == "python3 (pid 77) to 10.77.0.53 port 853, estab"
    assert found[2].startswith("a process to ")
