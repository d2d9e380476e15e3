"""An identity against authorities that answer, are late, refuse, or talk rubbish; gRPC over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from interceptor.config import Config, parse
from interceptor.host.rpc import RpcError
from interceptor.workload import certificate, identity, keystore, safe, surrounding
from interceptor.workload.credential import Credential
from interceptor.workload.identity import Chance, Identity
from interceptor.workload.provider import Provider
from tests.unit.workload.made import DAY_S, WHO, Authority, Service, token

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "FIRST_S", 0.02)
    monkeypatch.setattr(identity, "LONGEST_S", 0.1)
    monkeypatch.setattr(surrounding, "LOOK_S", 0.05)
    monkeypatch.setattr(identity, "SPREAD_S", 0.1)


class Clock:
    """This host's, and how far it is off."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def __call__(self) -> float:
        return certificate.now_s() + self.off_s


class Scene:
    """A member whose authority is ``service``, in a folder of its own."""

    def __init__(self, folder: Path, service: Service, extra: str = "") -> None:
        self.folder, self.service = folder, service
        self.told: list[Credential] = []
        self.clock = Clock()
        self.token = folder / "istio-token"
        self.root = folder / "root-cert.pem"
        self.token.write_text(token(certificate.now_s() + 3600))
        self.root.write_bytes(service.authority.root.certificate)
        self.extra = extra
        self.first = ""
        """More addresses, which are tried before, in YAML."""

    @property
    def config(self) -> Config:
        return parse(
            f"""
node: {{namespace: shop, service_account: web}}
mesh:
  state_dir: {self.folder}/state
  istiod:
    addresses: [{self.first}"127.0.0.1:{self.service.port or 1}"]
    root_cert: {self.root}
    token: {self.token}
    connect_timeout_ms: 20000
identity:
  provider: istiod
  dir: {self.folder}/identity
  {self.extra}
"""
        )

    @asynccontextmanager
    async def member(self, by: Provider = Provider.ISTIOD) -> AsyncIterator[Identity]:
        made = Identity(self.config, by, self.told.append, Chance(self.clock, lambda: 0.5))
        await made.open()
        try:
            yield made
        finally:
            await made.close()


async def until(condition: Callable[[], object]) -> None:
    """What goes on in the member has no event of its own: nobody but a test waits for it."""
    for _ in range(round(PATIENCE_S / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("in vain")


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await work()

    asyncio.run(whole())


def test_a_member_gets_a_certificate_and_keeps_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with Service().serving() as service:
            scene = Scene(tmp_path, service, f"output_dir: {tmp_path}/out")
            async with scene.member() as member:
                await until(lambda: scene.told)
                (told,) = scene.told
                assert (told, told.who) == (member.current, WHO)
                assert service.calls[0]["authorization"] == f"Bearer {scene.token.read_text()}"
                assert service.calls[0]["clusterid"] == "Kubernetes"
                kept = tmp_path / "identity" / safe.NAME
                await until((tmp_path / "out" / "cert-chain.pem").exists)
                assert (kept.stat().st_mode & 0o777, safe.load(kept.parent)) == (0o600, told)
                assert (tmp_path / "out" / "key.pem").read_bytes() == told.key_pem
                assert member.renewal_s == pytest.approx(told.obtained_s + DAY_S / 2, abs=10)
                status = member.status()
                assert (status["who"], status["issuer"]) == (WHO, "O=tests")
                assert status["alarms"] == []
                assert status["token_not_after"] != ""
                assert member.remaining_s()["default"] == pytest.approx(DAY_S, abs=100)
                pair = member.pair()
                assert pair is not None
                assert (pair.chain, pair.key) == (told.chain_pem, told.key_pem)

    run(go)


def test_it_is_replaced_at_half_of_its_life_each_time_with_another_key(tmp_path: Path) -> None:
    async def go() -> None:
        async with Service(ttl_s=2.0).serving() as service:
            scene = Scene(tmp_path, service)
            async with scene.member() as member:
                await until(lambda: len(scene.told) >= 3)
                assert len({each.key_pem for each in scene.told}) == len(scene.told)
                assert len(service.keys) >= 3
                lasted = scene.told[1].obtained_s - scene.told[0].obtained_s
                assert lasted > 0.4, "not before its time"
                assert member.failures == 0

    run(go)


def test_a_restart_without_the_authority_goes_on_from_the_disk(tmp_path: Path) -> None:
    async def go() -> None:
        service = Service()
        async with service.serving():
            scene = Scene(tmp_path, service)
            async with scene.member():
                await until(lambda: scene.told)
        before = scene.told.pop()
        async with scene.member() as member:
            assert scene.told == [before], "before anybody was asked"
            member.renew()
            await until(lambda: member.failures)
            assert "nobody listens there" in member.why
            assert member.current == before
            assert member.alarms() == (), "there is time"
            async with service.serving():
                await until(lambda: len(scene.told) > 1)
            assert member.why == ""

    run(go)


def _refuse(_csr: bytes) -> list[bytes]:
    raise RpcError("UNAVAILABLE", "try later")


def _unauthenticated(_csr: bytes) -> list[bytes]:
    raise RpcError("UNAUTHENTICATED", "no")


@pytest.mark.parametrize(
    ("decide", "words"),
    [
        (_refuse, "UNAVAILABLE: try later"),
        (_unauthenticated, "UNAUTHENTICATED: no"),
        (lambda csr: [], "no certificate"),
        (lambda csr: [b"rubbish", b"rubbish"], "no certificate in PEM"),
        (lambda csr: Authority().answer(csr, ends_s=-60), "ended at"),
        (lambda csr: Authority().answer(csr, begins_s=3600), "one of the two clocks is wrong"),
        (lambda csr: Authority().answer(csr, who="spiffe://a/ns/b/sa/c"), "and this VM is"),
        (lambda csr: [Authority().answer(csr)[0], Authority().answer(csr)[1]], "another authority"),
    ],
)
def test_a_bad_answer_is_told_and_what_is_in_force_stays(
    tmp_path: Path, decide: Callable[[bytes], list[bytes]], words: str
) -> None:
    async def go() -> None:
        async with Service().serving() as service:
            scene = Scene(tmp_path, service)
            async with scene.member() as member:
                await until(lambda: scene.told)
                service.decide = decide
                member.renew()
                await until(lambda: member.failures >= 2)
                assert words in member.why
                assert len(scene.told) == 1
                assert member.current == scene.told[0]
                await until(lambda: safe.load(tmp_path / "identity") == member.current)
                service.decide = None
                await until(lambda: len(scene.told) == 2)
                assert (member.why, member.alarms()) == ("", ())

    run(go)


def test_a_token_that_has_ended_is_told_and_a_new_one_is_taken_at_once(tmp_path: Path) -> None:
    async def go() -> None:
        async with Service(decide=_unauthenticated).serving() as service:
            scene = Scene(tmp_path, service)
            scene.token.write_text(token(certificate.now_s() - 3600))
            async with scene.member() as member:
                await until(lambda: member.failures)
                assert "expired at" in member.why
                assert any("the token ended at" in each for each in member.alarms())
                assert any("has no certificate" in each for each in member.alarms())
                service.decide = None
                scene.token.write_text(token(certificate.now_s() + 7200))
                await until(lambda: scene.told)
                await until(lambda: not member.alarms())

    run(go)


def test_the_certificate_stands_in_for_a_token_that_has_ended(tmp_path: Path) -> None:
    async def go() -> None:
        service = Service()
        async with service.serving():
            scene = Scene(tmp_path, service)
            async with scene.member():
                await until(lambda: scene.told)
        scene.token.unlink()
        async with service.serving(require_client=True):
            async with scene.member() as member:
                member.renew()
                await until(lambda: member.renewals)
                assert "authorization" not in service.calls[-1]
                assert member.why == ""

    run(go)


def test_the_next_address_is_asked_where_one_gives_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        service = Service()
        lazy = Service(authority=service.authority, decide=_refuse)
        async with service.serving(), lazy.serving():
            scene = Scene(tmp_path, service)
            scene.first = f'"127.0.0.1:1", "127.0.0.1:{lazy.port}", '
            async with scene.member() as member:
                await until(lambda: scene.told)
                assert len(lazy.calls) == 1
                assert member.failures == 0, "one attempt, three addresses"
                member.renew()
                await until(lambda: member.renewals == 2)
                assert len(lazy.calls) == 1, "the one that gave something is asked first"

    run(go)


def test_new_roots_are_told_and_a_changed_root_certificate_makes_it_ask(tmp_path: Path) -> None:
    async def go() -> None:
        service = Service()
        old = service.authority
        async with service.serving():
            scene = Scene(tmp_path, service)
            async with scene.member() as member:
                await until(lambda: scene.told)
                fresh = Authority()
                both = fresh.root.certificate + old.root.certificate
                service.decide = lambda csr: [fresh.answer(csr)[0], both]
                scene.root.write_bytes(both)
                await until(lambda: len(scene.told) == 2)
                roots = {each.pem for each in member.current.roots} if member.current else set()
                assert roots == {fresh.root.certificate, old.root.certificate}

    run(go)


def test_a_clock_that_jumps(tmp_path: Path) -> None:
    async def go() -> None:
        async with Service().serving() as service:
            scene = Scene(tmp_path, service)
            async with scene.member() as member:
                await until(lambda: scene.told)
                scene.clock.off_s = -2 * DAY_S
                assert any("is this host's clock right" in each for each in member.alarms())
                assert member.pair() is None
                scene.clock.off_s = 0.6 * DAY_S
                scene.token.touch()  # wakes it; else it would take half a minute
                await until(lambda: member.renewals == 2)
                scene.clock.off_s = 2 * DAY_S
                member.renew()
                await until(lambda: member.failures)
                assert "one of the two clocks is wrong" in member.why
                assert any("the certificate ended at" in each for each in member.alarms())
                assert member.current is not None, "others' clocks may be right"

    run(go)


def test_a_disk_that_takes_nothing_costs_the_next_start_only(tmp_path: Path) -> None:
    async def go() -> None:
        async with Service().serving() as service:
            scene = Scene(tmp_path, service)
            (tmp_path / "identity").write_text("in the way")
            async with scene.member() as member:
                await until(lambda: any("cannot be written" in each for each in member.alarms()))
                assert scene.told

    run(go)


def test_an_authority_on_this_host_signs(tmp_path: Path) -> None:
    async def go() -> None:
        keys = keystore.make("cluster.local", "ecdsa-p256", 86400, certificate.now_s())
        keystore.save(tmp_path / "authority", keys, certificate.now_s())
        extra = f"\nauthority: {{dir: {tmp_path}/authority}}"
        scene = Scene(tmp_path, Service(), extra)
        async with scene.member(Provider.LOCAL) as member:
            await until(lambda: scene.told)
            assert (member.current and member.current.who) == WHO

    run(go)


def test_a_certificate_of_another_name_on_the_disk_is_not_used(tmp_path: Path) -> None:
    async def go() -> None:
        service = Service()
        async with service.serving():
            scene = Scene(tmp_path, service)
            async with scene.member():
                await until(lambda: scene.told)
        scene.extra = "trust_domain: elsewhere"
        async with scene.member() as member:
            assert member.current is None

    run(go)


def test_a_certificate_on_the_disk_of_an_authority_that_is_another_now_is_replaced_at_once(
    tmp_path: Path,
) -> None:
    async def go() -> None:
        async with Service().serving() as service:
            scene = Scene(tmp_path, service)
            async with scene.member():
                await until(lambda: scene.told)
        async with Service().serving() as other:
            scene.service = other
            scene.root.write_bytes(other.authority.root.certificate)
            async with scene.member() as member:
                await until(lambda: len(scene.told) == 3)
                recalled, made = scene.told[1:]
                assert recalled == scene.told[0], "until there is another it holds"
                assert member.current == made
                assert made.root_pem.strip() == other.authority.root.certificate.strip()

    run(go)


def test_a_certificate_on_the_disk_of_the_same_authority_is_not_replaced(tmp_path: Path) -> None:
    async def go() -> None:
        async with Service().serving() as service:
            scene = Scene(tmp_path, service)
            async with scene.member():
                await until(lambda: scene.told)
            async with scene.member() as member:
                assert member.renewal_s > certificate.now_s()

    run(go)
