"""`interceptor resolve`: offline, without root."""

from __future__ import annotations

import dataclasses
import json

import click

from interceptor import inquiry
from interceptor.cli import option
from interceptor.config import Config
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
    found = inquiry.resolve(config, name, kind)
    if as_json:
        tree = dataclasses.asdict(found) | {"verdict": found.verdict.value}
        print(json.dumps(tree, indent=2))
        return
    click.echo(f"{found.name} {found.type}: {found.verdict.value} {found.rcode}".rstrip())
    for answer in found.answers:
        click.echo(f"  {answer.name} {answer.ttl_s} {answer.type} {answer.data}")
    click.echo(f"  why: {found.why}")
