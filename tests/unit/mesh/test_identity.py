"""Who a member of the mesh is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.mesh import identity
from interceptor.mesh.identity import SpiffeId

LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


def test_only_who_is_labelled_so_speaks_mutual_tls() -> None:
    assert identity.choose({identity.TLS_MODE: "istio"}, "vm", "mysql") == "ns/vm/sa/mysql"
    assert identity.choose({identity.TLS_MODE: "disabled"}, "vm", "mysql") == ""
    assert identity.choose({"app": "mysql"}, "vm", "mysql") == ""


def test_who_names_no_account_is_of_the_account_that_a_pod_would_have() -> None:
    assert identity.choose({identity.TLS_MODE: "istio"}, "vm", "") == "ns/vm/sa/default"


@given(LABEL, LABEL, LABEL)
def test_a_name_that_was_written_is_read_back(domain: str, namespace: str, account: str) -> None:
    member = SpiffeId(domain, namespace, account)
    assert identity.parse(member.uri) == member


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://cluster.local/ns/vm",
        "spiffe://cluster.local/ns/vm/sa/",
        "spiffe://cluster.local/ns/vm/sa/a/b",
        "spiffe://cluster.local/ns/../sa/a",
        "spiffe://Cluster.local/ns/vm/sa/a",
        "https://cluster.local/ns/vm/sa/a",
        "spiffe://cluster.local/ns/vm/sa/a\n",
        "spiffe://cluster.local/ns/vm/sa/" + "a." * 2000 + "a",
    ],
)
def test_what_is_not_such_a_name_is_nobody(text: str) -> None:
    assert identity.parse(text) is None
