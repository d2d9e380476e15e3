"""A call where a control plane configures Envoy: told by what Envoy has."""

from __future__ import annotations

from dataclasses import replace

from interceptor import inquiry
from interceptor.config import parse
from interceptor.debug import chain, diagnosis, relayed, serving
from interceptor.debug.case import Case, Envoy, Upstream
from interceptor.debug.finding import Cause
from tests.unit.debug import sick

CONFIG = parse("mesh: {source: istiod}\n")
CLUSTER = f"outbound|9080||{sick.NAME}"
ENVOY = Envoy(
    listens=True,
    answers=True,
    state="LIVE",
    listener="0.0.0.0_9080",
    cluster=CLUSTER,
    upstreams=(Upstream("10.77.0.41", 9080, used=3), Upstream("10.77.0.51", 9080, 1, False)),
)


def case(**other: object) -> Case:
    """As a name table has the host: without ports and endpoints."""
    host = replace(sick.REVIEWS, ports=(), endpoints=())
    return sick.case(host, config=CONFIG, **{"envoy": ENVOY, **other})


def causes(made: Case) -> list[Cause]:
    return [finding.cause for finding in diagnosis.diagnose(made)]


def test_cluster_and_endpoints_are_envoy_s() -> None:
    told = inquiry.conclude(case())
    assert (told.cluster, told.endpoints) == (CLUSTER, ("10.77.0.41:9080",))
    assert [(each["address"], each["ready"]) for each in told.backends] == [
        ("10.77.0.41", True),
        ("10.77.0.51", False),
    ]
    assert causes(case()) == []
    lines = "\n".join(chain.render(case(), chain.build(case(), told, ()), ()))
    assert "1 of 2 are ready" in lines
    assert "10.77.0.51 port 9080, weight 1, not ready" in lines


def test_without_envoy_s_word_the_cluster_is_named_as_istiod_would() -> None:
    told = inquiry.conclude(case(envoy=None))
    assert (told.cluster, told.endpoints) == (CLUSTER, ())
    assert causes(case(envoy=None)) == []


def test_where_we_configure_envoy_the_table_is_what_counts() -> None:
    made = sick.case()
    assert not relayed.is_so(made)
    assert inquiry.conclude(made).endpoints == ("10.77.0.41:9080", "10.77.0.51:9080")


def test_a_port_that_envoy_has_no_cluster_for_is_told_with_what_it_refuses() -> None:
    made = case(envoy=replace(ENVOY, cluster="", upstreams=None))
    assert made.running is not None
    other, ours = "Envoy refuses CLUSTER x: bad", f"Envoy refuses CLUSTER {CLUSTER}: no such filter"
    made = replace(made, running=replace(made.running, refused=(other, ours)))
    assert inquiry.conclude(made).cluster == "PassthroughCluster"
    (finding,) = serving.diagnose(made)
    assert finding.cause is Cause.NO_LISTENER
    assert finding.evidence[1:] == (ours, other)


def test_a_cluster_that_nobody_serves_is_told() -> None:
    assert causes(case(envoy=replace(ENVOY, upstreams=()))) == [Cause.NO_ENDPOINT]
    down = tuple(replace(each, is_healthy=False) for each in ENVOY.upstreams or ())
    assert causes(case(envoy=replace(ENVOY, upstreams=down))) == [Cause.ENDPOINTS_DOWN]


def test_an_envoy_that_has_no_configuration_yet_is_told_with_why_its_control_plane_is_away() -> (
    None
):
    made = case(envoy=Envoy(listens=False))
    assert made.running is not None
    why = "192.0.2.1:15012: refuses connections"
    made = replace(made, running=replace(made.running, sidecar="starting", uplink=why))
    (finding,) = serving.diagnose(made)
    assert finding.cause is Cause.SIDECAR_DOWN
    assert any(why in line for line in finding.evidence)
