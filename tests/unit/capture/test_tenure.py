"""What the daemon holds of the ebpf back end."""

from __future__ import annotations

from pathlib import Path

from interceptor.capture import tenure
from interceptor.capture.ebpfstep import Sites
from interceptor.config import Config


def test_there_is_a_tenure_only_where_ebpf_is_a_back_end() -> None:
    assert tenure.choose(Config(), Sites(), ("routes", "nftables")) is None
    assert tenure.choose(Config(), Sites(), ("routes", "nftables", "ebpf")) is not None


def test_a_command_joins_the_agents_cgroup_and_then_is_itself() -> None:
    held = tenure.choose(Config(), Sites(agent=Path("/cgroup/agent")), ("ebpf",))
    assert held is not None
    argv = held.wrap(("envoy", "--version"))
    assert argv[0] == "sh"
    assert argv[-3:] == ["/cgroup/agent", "envoy", "--version"]


def test_closing_leaves_another_s_cgroup(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    held = tenure.choose(Config(), Sites(agent=theirs), ("ebpf",))
    assert held is not None
    held.close(keep=False)
    assert theirs.exists()
