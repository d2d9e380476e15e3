"""`interceptor lab` and `interceptor bench`: namespaces as hosts, for demo, tests, benchmarks."""

from __future__ import annotations

import json

import click

from interceptor.cli import option


@click.group()
def lab() -> None:
    """Labs of network namespaces: two VMs, two service hosts, a DNS server."""


_name = click.option("--lab", "token", metavar="NAME", help="Which lab [default: the only one].")


@lab.command()
@_name
def up(token: str | None) -> None:
    """Bring a lab up, with the agent on both VMs, and leave it."""
    from interceptor.lab import session

    opened = session.up(token)
    click.echo(f"lab {opened.token} is up; try: interceptor lab exec vm curl reviews:9080")


@lab.command()
@_name
def down(token: str | None) -> None:
    """Take a lab down (without a name: every one that has no owner)."""
    from interceptor.lab import session

    for name in session.down(token):
        click.echo(f"lab {name} is down")


@lab.command("list")
@option.as_json
def list_labs(as_json: bool) -> None:
    """List the labs that are up."""
    from interceptor.lab import session

    found = session.list_labs()
    if as_json:
        rows = [{"lab": each.token, "owner": each.owner, "hosts": each.hosts} for each in found]
        click.echo(json.dumps(rows, indent=2))
        return
    for each in found:
        owner = f"pid {each.owner}" if each.owner else "left up"
        click.echo(f"{each.token}  {owner}  {' '.join(each.hosts)}")


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@_name
@click.argument("host")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def execute(token: str | None, host: str, argv: tuple[str, ...]) -> None:
    """Run a program on a host of the lab (without one: a shell)."""
    from interceptor.lab import session

    session.execute(host, argv, token)


@lab.command()
def demo() -> int:
    """Bring a lab up, make the calls, show every step, take it down."""
    from interceptor.lab import demo as show

    return show.run()


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("argv", nargs=-1, type=click.UNPROCESSED)
def bench(argv: tuple[str, ...]) -> int:
    """Benchmarks against Debian's DNS servers, Envoy, Istio's rules (--help for options)."""
    from interceptor.lab.bench import program as measure

    return measure.main(argv)
