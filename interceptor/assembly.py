"""From a configuration to each value that the daemon and the offline commands share.

Nothing here runs for long or keeps anything open. What it reads of the host can
be read without root.
"""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import dataclass, replace
from difflib import unified_diff
from pathlib import Path

from interceptor.capture import backend, clean, fact, ground, joined, nfttext, placement, plan, step
from interceptor.capture import rule as rules
from interceptor.capture.backend import Choice
from interceptor.capture.joined import Joined
from interceptor.capture.journal import NAME as JOURNAL_NAME
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Facts, Place, Plan
from interceptor.config import Config
from interceptor.dns.frame import Settings as WorkerSettings
from interceptor.errors import InterceptorError
from interceptor.host import fuse, lock, probe, resolver
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Locale
from interceptor.mesh.table import MeshTable
from interceptor.origin import load_table as load_table
from interceptor.sidecar import launch, pid, setting
from interceptor.sidecar.setting import Settings
from interceptor.workload import provider
from interceptor.workload.provider import Provider

TELL_BYTES = 30_000  # a diff that is longer is cut


def sidecar_settings(config: Config, facts: Facts) -> Settings:
    """What shapes the sidecar's resources on this host, container bridges included."""
    bridges = config.capture.interfaces.bridges
    links = probe.addresses() if bridges else {}
    found = [address for name in bridges for address in links.get(name, ())]
    return setting.choose(
        config,
        facts.own_addresses,
        ipv6=facts.has_ipv6,
        bridge_addresses=[address for address in found if not address.is_link_local],
        has_identity=provider.observe(config) is not Provider.NONE,
    )


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that `plan` prints and `apply` installs."""

    config: Config
    plan: Plan
    choice: Choice
    backend: Joined


def locale(config: Config) -> Locale:
    """From where this VM looks at the mesh."""
    search = config.dns.search
    if search is None:
        search = resolver.observe_search(config.dns.resolv_conf)
    return Locale(
        namespace=config.node.namespace,
        domain=config.node.domain,
        search=search,
        own_zones=config.dns.own_zones,
        ttl_s=config.dns.ttl_s,
        forward_zones=tuple(
            (zone, tuple(map(str, servers))) for zone, servers in config.dns.forward_zones.items()
        ),
    )


def answers(config: Config, table: MeshTable) -> Answers:
    """The answer table, which can tell where a host comes from."""

    def describe(name: str) -> str:
        host = table.hosts.get(name)
        return host.origin if host is not None else ""

    return Answers.build(table.hosts.values(), locale(config), describe)


def places(table: MeshTable) -> tuple[Place, ...]:
    """What capture has to cover: every address that some host is called by, and CIDRs."""
    networks = (network for host in table.hosts.values() for network in host.networks)
    return (*table.addresses(), *networks)


def prepare(config: Config) -> Prepared:
    """The plan for this host and the back end for it. Nothing is touched."""
    table = load_table(config)
    built = plan.build(config, fact.facts(config), places(table))
    choice = choose(config)
    return Prepared(config, built, choice, open_backend(config, choice))


def choose(config: Config) -> Choice:
    """The back ends that this host supports. Raises Unsupported."""
    gaps = placement.gaps(plan.build(config, Facts()))
    return backend.choose(config.capture.backend, config.dns.backend, fact.support(config), gaps)


def open_journal(config: Config) -> Journal:
    """The journal of this configuration's run directory."""
    return Journal(config.agent.run_dir / JOURNAL_NAME)


def open_backend(config: Config, choice: Choice) -> Joined:
    """The back end with its journal; nothing is touched yet."""
    return joined.build(choice, open_journal(config), ground.choose(config, choice))


def bypasses_by_rules(config: Config, choice: Choice) -> bool:
    """Whether the rules change as the sidecar comes and goes. Programs see it for themselves."""
    return config.agent.on_sidecar_loss == "bypass" and choice.tcp != "ebpf"


def worker_settings(config: Config, choice: Choice) -> WorkerSettings:
    """What the DNS worker has to know: packets come by a netfilter queue, or by the programs."""
    dns, is_kernel = config.dns, choice.dns == "ebpf"
    return WorkerSettings(
        queue=-1 if is_kernel else dns.queue,
        queue_length=dns.queue_length,
        tcp_port=dns.tcp_port,
        mark=config.capture.mark,
        maps=str(config.capture.bpf_dir) if is_kernel else "",
    )


def render(prepared: Prepared, *, as_json: bool) -> str:
    """The steps of the plan, as text that a shell reads or as JSON."""
    steps = prepared.backend.render(prepared.plan)
    if as_json:
        tree = {
            "backend": prepared.backend.name,
            "why": list(prepared.choice.why),
            "rules": [_rule_tree(rule) for rule in prepared.plan.rules],
            "steps": [step.json(item) for item in steps],
        }
        return json.dumps(tree, indent=2)
    head = [f"# {line}" for line in prepared.choice.why]
    head += [f"# rule {rule.number}: {rules.describe(rule)}" for rule in prepared.plan.rules]
    return "\n".join([*head, "", step.text(map(_readable, steps))]).rstrip()


def _readable(item: step.Step) -> step.Step:
    """nft's JSON in nft's own language, which says the same and can be read."""
    if item.do.argv[:2] != ("nft", "-j") or item.do.stdin is None:
        return item
    commands = json.loads(item.do.stdin)["nftables"]
    do = step.Command(("nft", "-f", "-"), nfttext.text(commands))
    return step.Step(item.why, do, item.undo)


def rule_lines(config: Config, built: Plan, rule: rules.Rule, version: int) -> tuple[str, ...]:
    """The text of one rule as it is installed in one address family.

    In the words of capture.backend. Programs have none, and nothing is probed
    to know what auto would take: then there is no text.
    """
    if config.capture.backend in ("auto", "ebpf"):
        return ()
    bare = replace(built, families=(version,), places=(), routes=())
    choice = Choice("nftables", "nftables")
    if config.capture.backend == "iptables":
        choice = Choice("iptables", "iptables", variant="nft", ipset=True)
    text = step.text(map(_readable, joined.build(choice, Journal()).render(bare)))
    wanted = f'{rule.number}: {rule.why}"'
    lines = (line.strip() for line in text.replace("\\'", "'").splitlines())
    return tuple(line for line in lines if wanted in line)


def _rule_tree(rule: rules.Rule) -> dict[str, object]:
    return {
        "number": rule.number,
        "verdict": rule.verdict.value,
        "why": rule.why,
        "match": rules.describe(rule),
    }


def compare(prepared: Prepared, *, as_json: bool) -> tuple[str, bool]:
    """How the host differs from the plan, and whether it does."""
    observed = prepared.backend.observe()
    expected = prepared.backend.expected(prepared.plan)
    lines = list(
        unified_diff(observed.splitlines(), expected.splitlines(), "host", "plan", lineterm="")
    )
    text = "\n".join(lines)[:TELL_BYTES]
    if as_json:
        return json.dumps({"differs": bool(lines), "diff": lines}, indent=2), bool(lines)
    return text or "the host is as the plan says", bool(lines)


def apply(prepared: Prepared) -> None:
    """Install the plan."""
    prepared.backend.apply(prepared.plan)
    clean.sweep(prepared.backend.names, prepared.config.capture.bpf_dir)


SIDECAR_END_S = 3.0  # between SIGTERM and SIGKILL


def clean_host(config: Config) -> list[str]:
    """Remove everything of ours from a cold start. Returns a line for each thing done.

    Raises InterceptorError while a daemon runs: it would put everything back.
    """
    run_dir = config.agent.run_dir
    holder = lock.holder(run_dir / lock.NAME)
    if holder:
        raise InterceptorError(f"the daemon runs (pid {holder}): end it, and it cleans by itself")
    bpf_dir = config.capture.bpf_dir
    was, cgroups = clean.observe(bpf_dir), ground.remains(config, open_journal(config))
    clean.revert(open_journal(config), bpf_dir)
    lines = [f"removed: {line}" for line in _headlines(was)]
    if end_sidecar(run_dir):
        lines.append("ended the managed envoy")
    # Now that nobody is left in them.
    lines += [f"removed cgroup {folder}" for folder in cgroups if ground.dismiss(folder)]
    lines += [f"removed {path}" for path in _sweep(run_dir)]
    return lines or ["nothing of ours was on this host"]


def _headlines(observed: str) -> list[str]:
    """One line for each family of rules or route of ours."""
    count = len(observed.splitlines())
    return [f"{count} lines of rules, sets, routes and programs"] if count else []


def end_sidecar(run_dir: Path) -> bool:
    """End a managed Envoy that no daemon looks after. Whether there was one."""
    files_of = launch.files(run_dir)
    record = pid.read_record(files_of.record)
    pidfd = pid.open_pidfd(record) if record is not None else -1
    if pidfd < 0:
        pidfd = pid.open_stray(files_of.bootstrap)
    if pidfd < 0:
        return False
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            pid.send_signal(pidfd, number)
            if select.select([pidfd], [], [], SIDECAR_END_S)[0]:
                break
    finally:
        os.close(pidfd)
    files_of.record.unlink(missing_ok=True)
    return True


def _sweep(run_dir: Path) -> list[Path]:
    """Remove what daemons leave in the run directory, and the directory once it is empty."""
    places_of = launch.files(run_dir)
    names = ("control.sock", "lock", JOURNAL_NAME, places_of.record.name, places_of.log.name)
    removed = []
    for path in (
        *(run_dir / name for name in names),
        places_of.bootstrap,
        places_of.socket,
        places_of.sds,
        places_of.admin,
    ):
        if path.exists():
            path.unlink()
            removed.append(path)
    fuse.put_out(run_dir)
    for folder in (places_of.admin.parent, places_of.folder, run_dir):
        try:
            folder.rmdir()
        except OSError:
            continue
        removed.append(folder)
    return removed
