"""`interceptor resolve` and `interceptor explain`: offline, without root."""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from interceptor import assembly, inquiry
from interceptor.cli import option
from interceptor.config import Config
from interceptor.debug.explain import Explanation
from interceptor.mesh.outcome import parse_type


def _record_type(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """A record type: a name, or TYPEnnn (RFC 3597)."""
    try:
        parse_type(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value.upper()


@click.command()
@click.argument("name")
@click.option(
    "--type", "kind", callback=_record_type, default="A", help="Record type [default: A]."
)
@option.nametable
@option.as_json
@option.configured
def resolve(config: Config, name: str, kind: str, as_json: bool) -> None:
    """What the mesh answers to NAME, by which host, and why."""
    found = assembly.answers(config, assembly.load_table(config)).resolve(name, kind)
    if as_json:
        tree = dataclasses.asdict(found) | {"verdict": found.verdict.value}
        print(json.dumps(tree, indent=2))
        return
    click.echo(f"{found.name} {found.type}: {found.verdict.value} {found.rcode}".rstrip())
    for answer in found.answers:
        click.echo(f"  {answer.name} {answer.ttl_s} {answer.type} {answer.data}")
    click.echo(f"  why: {found.why}")


@click.command()
@click.argument("proto", type=click.Choice(["tcp", "udp"]))
@click.argument("target", metavar="HOST:PORT")
@click.option("--uid", type=int, help="User of the calling process [default: yours].")
@click.option("--gid", type=int, help="Group of the calling process [default: yours].")
@click.option("--in", "interface", metavar="IFACE", help="The flow arrives on this interface.")
@click.option("--from", "source", metavar="ADDR", help="Source address of the flow.")
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
    interface: str | None,
    source: str | None,
    as_json: bool,
) -> None:
    """The fate of one flow: name, answer, rule, cluster, endpoints.

    HOST is a name or an address (IPv6 in brackets).
    """
    question = inquiry.Question(proto, target, uid, gid, interface or "", source or "")
    found = inquiry.explain(config, question)
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=2))
    else:
        _tell(found)


def _tell(found: Explanation) -> None:
    out = sys.stdout
    if found.name:
        print(f"name      {found.name}", file=out)
        print(f"answer    {', '.join(found.answer) or 'none'}", file=out)
    print(f"verdict   {found.verdict} → {found.to}", file=out)
    print(f"rule      {found.rule}: {found.why}", file=out)
    for line in found.rule_text:
        print(f"          {line}", file=out)
    if found.host:
        print(f"host      {found.host}", file=out)
    if found.cluster:
        print(f"cluster   {found.cluster}", file=out)
    for backend in found.backends:
        state = "ready" if backend["ready"] else "not ready"
        place = f"{backend['address']} port {backend['port']}"
        origin = f", {backend['origin']}" if backend["origin"] else ""
        print(f"endpoint  {place}, weight {backend['weight']}, {state}{origin}", file=out)
