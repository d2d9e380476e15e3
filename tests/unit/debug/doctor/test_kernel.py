"""Back ends, features, rights."""

from __future__ import annotations

from dataclasses import replace

from interceptor import config
from interceptor.debug.doctor import kernel
from interceptor.debug.doctor.check import Check, State
from interceptor.debug.doctor.fact import Facts, Host, Mechanism
from interceptor.host.credential import Credential
from interceptor.host.feature import Feature

HOST = Host(
    kernel="6.1.0",
    machine="x86_64",
    mechanisms=(Mechanism("nftables", "1.0.6"),),
    backends=("nftables", "nftables"),
    chosen=("backend: nftables [...]",),
    cgroup_mount="/sys/fs/cgroup",
    credential=Credential(files=65536, available_bytes=4 << 30),
)


def judge(host: Host, text: str = "") -> dict[str, Check]:
    return {each.name: each for each in kernel.decide(Facts(host=host), config.parse(text))}


def states(found: dict[str, Check]) -> dict[str, State]:
    return {name: each.state for name, each in found.items() if each.state is not State.OK}


def test_an_ordinary_host_is_right() -> None:
    assert not states(judge(HOST))


def test_a_host_without_any_back_end_is_a_fault_with_a_cure() -> None:
    found = judge(replace(HOST, refusal="any back end: not supported", chosen=()))
    assert states(found) == {"back end": State.FAULT}
    assert found["back end"].cure


def test_a_back_end_that_was_asked_for_must_work_another_need_not() -> None:
    host = replace(HOST, mechanisms=(Mechanism("ebpf", lacks="a cgroup2 mount"),))
    assert states(judge(host)) == {"ebpf": State.NOTE}
    assert states(judge(host, "capture: {backend: ebpf}")) == {"ebpf": State.FAULT}


def test_a_missing_feature_is_a_fault_only_where_the_chosen_back_end_needs_it() -> None:
    missing = (Feature("redirect (nft)", False, "No such file"), Feature("MPTCP", True))
    found = judge(replace(HOST, features=missing))
    assert states(found) == {"redirect (nft)": State.FAULT}
    assert found["redirect (nft)"].cure == "modprobe nft_redir"
    assert found["features"].seen == "MPTCP"
    ebpf = replace(HOST, features=missing, backends=("ebpf", "ebpf"))
    assert states(judge(ebpf)) == {"redirect (nft)": State.NOTE}


def test_every_feature_that_is_tried_has_a_cure() -> None:
    from interceptor.host import feature

    tried = {*feature.trials("iptables-nft"), "MPTCP", "TCP Fast Open"}
    assert tried == set(kernel.MODULES)
    needed = {name for names in kernel.NEEDED.values() for name in names}
    assert tried == needed | set(kernel.USES)


def test_who_is_not_root_is_told_what_that_means() -> None:
    found = judge(replace(HOST, credential=Credential(uid=1000), features_error="not tried"))
    assert states(found) == {"features": State.NOTE, "user": State.NOTE}
    assert found["user"].cure == "sudo interceptor doctor"


def test_root_without_capabilities_is_a_fault() -> None:
    found = judge(replace(HOST, credential=Credential(missing=("CAP_NET_ADMIN",))))
    assert states(found) == {"capabilities": State.FAULT}
    assert "CAP_NET_ADMIN" in found["capabilities"].seen


def test_small_limits_are_warnings() -> None:
    small = Credential(files=1024, available_bytes=100 << 20)
    found = states(judge(replace(HOST, credential=small)))
    assert found == {"open files": State.WARNING, "memory": State.WARNING}


def test_a_cgroup_that_is_not_there_is_a_fault_no_cgroup2_at_all_a_note() -> None:
    text = "capture: {cgroup: /apps}"
    assert states(judge(replace(HOST, has_cgroup=False), text)) == {"cgroup2": State.FAULT}
    assert states(judge(replace(HOST, cgroup_mount=""))) == {"cgroup2": State.NOTE}


def test_what_ebpf_would_like_is_told() -> None:
    found = states(judge(replace(HOST, has_bpffs=False, tcx=False)))
    assert found == {"bpffs": State.NOTE, "tcx": State.NOTE}
