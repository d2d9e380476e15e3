"""`interceptor explain`: the fate of one call, link by link, and where the chain breaks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import click

from interceptor import examination, inquiry, probing
from interceptor.cli import option
from interceptor.cli.main import DONE, FAILED
from interceptor.config import Config
from interceptor.debug import chain, diagnosis
from interceptor.debug.case import Case
from interceptor.debug.finding import Finding
from interceptor.inquiry import Question


@click.command()
@click.argument("proto", type=click.Choice(["tcp", "udp", "http"]))
@click.argument("target", metavar="HOST:PORT")
@click.option("--uid", type=int, help="User of the calling process [default: yours].")
@click.option("--gid", type=int, help="Group of the calling process [default: yours].")
@click.option("--cgroup", metavar="PATH", help="cgroup2 of the calling process, below the mount.")
@click.option("--bound", metavar="IFACE", help="The caller binds its socket to this device.")
@click.option("--in", "interface", metavar="IFACE", help="The flow arrives on this interface.")
@click.option("--from", "source", metavar="ADDR", help="Source address of the flow.")
@click.option(
    "--probe", is_flag=True, help="Ask the name and open one connection, and tell what happens."
)
@option.backend
@option.nametable
@option.as_json
@option.configured
def explain(
    config: Config,
    proto: str,
    target: str,
    uid: int | None,
    gid: int | None,
    cgroup: str | None,
    bound: str | None,
    interface: str | None,
    source: str | None,
    probe: bool,
    as_json: bool,
) -> int:
    """The fate of one call: name, answer, rule, listener, cluster, endpoints.

    HOST is a name or an address (IPv6 in brackets); http is tcp with a request.
    Says where the chain breaks, why, and what to run next; as root it looks at
    the rules installed and asks Envoy. Exit code 1 where a probe finds it broken.
    """
    ids = (uid, gid, interface or "", source or "", cgroup or "", bound or "")
    question = Question(proto, target, *ids)
    case = examination.observe(inquiry.begin(config, question))
    if probe:
        case = probing.send(case, question)
    findings = diagnosis.diagnose(case)
    _tell(case, findings, as_json)
    return FAILED if probe and findings else DONE


def _tell(case: Case, findings: Sequence[Finding], as_json: bool) -> None:
    told = inquiry.conclude(case)
    links = chain.build(case, told, findings)
    if as_json:
        tree = dataclasses.asdict(told)
        tree["links"] = [link.json() for link in links]
        tree["findings"] = [finding.json() for finding in findings]
        tree["probe"] = dataclasses.asdict(case.probe) if case.probe is not None else None
        print(json.dumps(tree, indent=2))
    else:
        for line in chain.render(case, links, findings):
            print(line.rstrip())
