from __future__ import annotations
import time, json
import pytest
from interceptor.lab.removal import wait_until
from tests.interop.test_istiod import member, ENTRIES
from tests.interop.conftest import site, Site
pytestmark = [pytest.mark.root]

def test_stop(member):
    def condition():
        entries = member.plane.read(ENTRIES)["items"]
        c = entries[0].get("status", {}).get("conditions", []) if entries else []
        return next(((each["status"], each.get("message")) for each in c if each["type"] == "Healthy"), "")
    wait_until(lambda: condition() and condition()[0] == "True", "healthy", 30)
    print(json.dumps(member.agent.read("status")["workload"]))
    b=time.monotonic()
    import threading
    threading.Thread(target=member.agent.stop).start()
    wait_until(lambda: condition()[0] == "False", "unhealthy in istiod", 30)
    print("after", time.monotonic()-b, condition())
    wait_until(lambda: not member.plane.read(ENTRIES)["items"], "gone", 60)
    print("gone after", time.monotonic()-b)
