"""bcc on the distribution's own kernel and headers."""

from __future__ import annotations

import json

import pytest

from interceptor.host import bytecode
from tests.vm.guest import bench
from tests.vm.guest.machine import Machine

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

COMPILE_LIMIT_S = 1500  # 4 s on an idle machine, not emulated

SOME = ("dns_egress", "connect4", "lookup")
"""One of each kind. All of them take three minutes emulated."""

KPROBE = """\
from bcc import BPF
one = BPF(text='int at(void *ctx) { bpf_trace_printk("here"); return 0; }')
one.attach_kprobe(event=one.get_syscall_fnname("sethostname"), fn_name="at")
import socket
socket.sethostname(socket.gethostname())
print(one.trace_fields()[5].decode())
"""


def test_the_bytecode_that_is_shipped_is_what_comes_out_here(machine: Machine) -> None:
    some = " ".join(f"--only {name}" for name in SOME)
    words = f"python3 -m interceptor.host.compiler {some} /run/bytecode.json"
    machine.run(
        f"cd {bench.CHECKOUT}; PYTHONDONTWRITEBYTECODE=1 "
        f"PYTHONPATH={bench.CHECKOUT}:/usr/lib/interceptor {words}",
        timeout_s=COMPILE_LIMIT_S,
    )
    made = json.loads(machine.read("cat /run/bytecode.json"))
    shipped = json.loads(bytecode.FILE.read_text())
    shipped["programs"] = {name: shipped["programs"][name] for name in SOME}
    assert made == shipped


def test_a_program_is_compiled_by_the_matching_headers_and_runs(machine: Machine) -> None:
    machine.write("/run/kprobe.py", KPROBE)
    machine.run("test -d /lib/modules/$(uname -r)/build")
    assert machine.read("python3 /run/kprobe.py", timeout_s=COMPILE_LIMIT_S) == "here"
