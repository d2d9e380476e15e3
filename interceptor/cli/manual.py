"""The manual pages, generated: `python -m interceptor.cli.manual FOLDER`.

interceptor(8) is the command line's own help, interceptor.yaml(5) the tree of
the configuration with its reasons: in man(7)'s language, with a few words of
their own around them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import yaml
from pydantic import BaseModel

import interceptor
from interceptor.cli import reference
from interceptor.config import Config

WHERE = """\
.SH FILES
.TP
.I /etc/interceptor/interceptor.yaml
The configuration: interceptor.yaml(5).
.TP
.I /etc/interceptor/mesh
The mesh's documents, as the packaged configuration has it; followed as they change.
.TP
.I /run/interceptor
Journal, sockets, Envoy's files. Gone after a stop.
.TP
.I /var/lib/interceptor
Allocated addresses and the last good table.
.TP
.I /sys/fs/bpf/interceptor
Programs and maps of the back end ebpf.
.SH EXIT STATUS
0 done; 1 failed; 2 usage or configuration; 3 this host cannot; 4 the host differs from the plan.
.SH LOGS
Under systemd, records with fields: every word behind an event is one.
.PP
.nf
journalctl \\-u interceptor
journalctl \\-u interceptor \\-p warning
journalctl INTERCEPTOR_EVENT=ready \\-o verbose
.fi
.SH SEE ALSO
interceptor.yaml(5), interceptor\\-rescue(8), systemctl(1), journalctl(1)
"""

RESCUE = """\
.SH NAME
interceptor\\-rescue \\- take everything of interceptor's off this host
.SH SYNOPSIS
.B interceptor\\-rescue
.SH DESCRIPTION
Does what
.B interceptor clean
does, in plain sh and without Python: deletes the nft table, chains, sets, routes, filters and
pins that bear interceptor's name, whatever version installed them, and nothing else. It may be
run at any time and any number of times; it does not end a daemon that runs, which would put
everything back: stop interceptor.service first.
.SH SEE ALSO
interceptor(8)
"""


def escape(text: str) -> str:
    """Text as man(7) wants it: nothing in it is a request or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.splitlines())


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; those that begin with click's \\b keep their lines."""
    for index, paragraph in enumerate(text.strip().split("\n\n")):
        if index:
            yield ".PP"
        lines = [line.strip() for line in paragraph.splitlines()]
        if lines[:1] == ["\b"]:
            yield from (".nf", *map(escape, lines[1:]), ".fi")
        else:
            yield escape(" ".join(lines))


def _title(name: str, section: int, what: str) -> Iterator[str]:
    # No date: the same sources give the same bytes.
    yield f'.TH {name.upper()} {section} "" "interceptor {interceptor.__version__}"'
    if what:
        yield from (".SH NAME", f"{escape(name)} \\- {escape(what)}")


def _option(param: click.Option, context: click.Context) -> Iterator[str]:
    names = ", ".join((*param.opts, *param.secondary_opts))
    value = (
        "" if param.is_flag or param.count else f" \\fI{escape(param.make_metavar(context))}\\fR"
    )
    yield from (".TP", f"\\fB{escape(names)}\\fR{value}", escape(param.help or ""))


def _command(context: click.Context) -> Iterator[str]:
    command = context.command
    words = " ".join(command.collect_usage_pieces(context))
    yield f'.SS "{escape(context.command_path)} {escape(words)}"'
    yield from _prose(command.help or "")
    for param in command.get_params(context):
        if isinstance(param, click.Option) and not param.hidden and "--help" not in param.opts:
            yield from _option(param, context)


def render_command() -> str:
    """interceptor(8)."""
    first, *others = reference.commands()
    out = list(_title("interceptor", 8, "this host as a member of a service mesh"))
    out += [".SH SYNOPSIS", ".B interceptor", "\\fICOMMAND\\fR [\\fIOPTION\\fR...]"]
    out += [".SH DESCRIPTION", *_prose(first.command.help or "")]
    out += [".PP", "The package runs it as the systemd service", ".IR interceptor.service ."]
    out += [".SH OPTIONS"]
    for param in first.command.get_params(first):
        if isinstance(param, click.Option):
            out += _option(param, first)
    out += [".SH COMMANDS"]
    for context in others:
        out += _command(context)
    return "\n".join(out) + "\n" + WHERE


def _keys(group: BaseModel, prefix: str) -> Iterator[str]:
    plain = group.model_dump(mode="json")
    for name, field in type(group).model_fields.items():
        value, key = getattr(group, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from _keys(value, f"{key}.")
            continue
        text = yaml.safe_dump(plain[name], default_flow_style=True, width=100_000)
        default = text.removesuffix("...\n").strip()
        why = " ".join((field.description or "").split())
        yield from (".TP", f"\\fB{escape(key)}\\fR: {escape(default)}")
        yield escape(why) if why else "\\&"


def render_configuration() -> str:
    """interceptor.yaml(5)."""
    out = list(_title("interceptor.yaml", 5, "configuration of interceptor(8)"))
    out += [".SH SYNOPSIS", ".I /etc/interceptor/interceptor.yaml", ".SH DESCRIPTION"]
    out += _prose(
        "YAML. Every key has a default, which stands behind it here, and a file need not exist."
        " A key is set from the environment as well, INTERCEPTOR_ and its name in capitals with"
        " underscores for dots (INTERCEPTOR_CAPTURE_BACKEND), and by some commands' options,"
        " which come first.\n\n`interceptor config check` reports every problem at once,"
        " `interceptor config show` prints what is in force."
    )
    for name, field in Config.model_fields.items():
        group = field.default
        out += [f".SH {name.upper()}", *_prose(type(group).__doc__ or "")]
        out += _keys(group, f"{name}.")
    return "\n".join([*out, ".SH SEE ALSO", "interceptor(8)", ""])


def render_rescue() -> str:
    """interceptor-rescue(8)."""
    return "\n".join(_title("interceptor-rescue", 8, "")) + "\n" + RESCUE


PAGES: dict[str, Callable[[], str]] = {
    "interceptor.8": render_command,
    "interceptor.yaml.5": render_configuration,
    "interceptor-rescue.8": render_rescue,
}


if __name__ == "__main__":
    for name, render in PAGES.items():
        Path(sys.argv[1], name).write_text(render())
