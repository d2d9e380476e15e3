"""Errors say what to do, and carry what callers branch on."""

from __future__ import annotations

from interceptor.errors import CommandFailed, ConfigError, Problem, Unsupported

PROBLEM = Problem("a.yaml", "spec.ports[0].number", "99999", "1..65535", 6, "Service a/b")


def test_a_problem_names_file_line_document_key_value_and_what_is_legal() -> None:
    assert str(PROBLEM) == "a.yaml:6 (Service a/b): spec.ports[0].number: 99999: 1..65535"


def test_what_is_unknown_is_left_out() -> None:
    assert str(Problem("--from", "address", "x", "an IP address")) == (
        "--from: address: x: an IP address"
    )


def test_every_problem_is_kept_and_printed() -> None:
    error = ConfigError([PROBLEM, PROBLEM])
    assert error.problems == (PROBLEM, PROBLEM)
    assert str(error).count("99999") == 2


def test_unsupported_says_what_it_would_take() -> None:
    assert "needs nft 1.0" in str(Unsupported("back end nftables", "nft 1.0"))


def test_a_failed_command_can_be_pasted() -> None:
    error = CommandFailed(("ip", "rule"), 2, " no such thing\n")
    assert str(error) == "`ip rule` ended with 2: no such thing"
    assert (error.argv, error.code) == (("ip", "rule"), 2)
