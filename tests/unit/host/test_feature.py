"""What is tried of the kernel, as commands; tests/netns/test_doctor.py tries them."""

from __future__ import annotations

from interceptor.host import feature


def test_every_nft_trial_takes_its_table_away_again() -> None:
    for argv, stdin in feature.TRIALS.values():
        assert argv == ("nft", "-f", "-")
        lines = stdin.splitlines()
        assert lines[0].startswith("add table ")
        assert lines[-1] == lines[0].replace("add", "delete")


def test_without_a_program_iptables_is_not_tried() -> None:
    assert set(feature.trials("")) == set(feature.TRIALS)
    argv, stdin = feature.trials("iptables-nft")["NFQUEUE (iptables)"]
    assert (argv[0], argv[-1], stdin) == ("iptables-nft", "--queue-bypass", "")


def test_mptcp_and_fast_open_are_told_without_a_namespace() -> None:
    assert {feature._mptcp().name, feature._fast_open().name} == {"MPTCP", "TCP Fast Open"}
