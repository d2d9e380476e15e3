"""What a shell completes, written out: `python -m interceptor.cli.completion bash|zsh|fish`.

click's own completion asks the program at each press of the key, which takes
a tenth of a second and more; commands and options change with the package only.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass

import click

from interceptor.cli import reference

FILES = (click.Path, click.File)


@dataclass(frozen=True, slots=True)
class Option:
    """``values``: what may follow; None: nothing does; empty: any word, or a file."""

    names: tuple[str, ...]
    help: str
    values: tuple[str, ...] | None
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """``path`` is without the program's name: ``("mesh", "list")``."""

    path: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    commands: tuple[str, ...]


def _option(param: click.Option) -> Option:
    values: tuple[str, ...] | None = ()
    if param.is_flag or param.count:
        values = None
    elif isinstance(param.type, click.Choice):
        values = tuple(map(str, param.type.choices))
    names = (*param.opts, *param.secondary_opts)
    return Option(names, _sentence(param.help or ""), values, isinstance(param.type, FILES))


def _sentence(text: str) -> str:
    """The first one, in one line."""
    return " ".join(text.split()).partition(". ")[0].rstrip(".")


def build() -> list[Command]:
    """Every command, the program itself first."""
    out = []
    for context in reference.commands():
        command = context.command
        options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
        inner = _inner(command, context) if isinstance(command, click.Group) else []
        out.append(
            Command(
                tuple(context.command_path.split()[1:]),
                _sentence(command.get_short_help_str(200)),
                tuple(_option(each) for each in options if not each.hidden),
                tuple(inner),
            )
        )
    return out


def _inner(group: click.Group, context: click.Context) -> list[str]:
    """The names of its commands, but for those that only programs call."""
    found = ((name, group.get_command(context, name)) for name in group.list_commands(context))
    return [name for name, each in found if each is not None and not each.hidden]


def _words(command: Command) -> str:
    names = [name for option in command.options for name in option.names]
    return " ".join([*command.commands, *names])


_BASH = """\
# bash completion of interceptor(8), generated: see interceptor/cli/completion.py.
_interceptor() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} path= word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case " $path $word" in
            @PATHS@) path="${path:+$path }$word" ;;
        esac
    done
    case "$path $previous" in
@VALUES@
    esac
    case "$path" in
@WORDS@
    esac
}
complete -o default -F _interceptor interceptor
"""


def render_bash(commands: list[Command]) -> str:
    """For /usr/share/bash-completion/completions."""
    paths, values, words = [], [], []
    for command in commands:
        path = " ".join(command.path)
        if path:
            paths.append(f'" {path}"' if len(command.path) > 1 else f'"  {path}"')
        for option in command.options:
            if option.values is None:
                continue
            told = f"compgen -W {shlex.quote(' '.join(option.values))}"
            if not option.values:
                told = "compgen -f" if option.is_file else "true"
            patterns = "|".join(f'"{path} {name}"' for name in option.names)
            values.append(f'        {patterns}) COMPREPLY=($({told} -- "$current")); return ;;')
        quoted = shlex.quote(_words(command))
        words.append(f'        "{path}") COMPREPLY=($(compgen -W {quoted} -- "$current")) ;;')
    return (
        _BASH.replace("@PATHS@", " | ".join(paths))
        .replace("@VALUES@", "\n".join(values))
        .replace("@WORDS@", "\n".join(words))
    )


def _escaped(text: str) -> str:
    """Within an _arguments specification of zsh."""
    return "".join("\\" + char if char in "[]:\\'" else char for char in text)


def _zsh_option(option: Option) -> list[str]:
    action = ""
    if option.values is not None:
        what = f"({' '.join(option.values)})" if option.values else ""
        action = f":value:{what or ('_files' if option.is_file else '')}"
    quoted = "({})".format(" ".join(option.names)) if len(option.names) > 1 else ""
    return [
        shlex.quote(f"{quoted}{name}[{_escaped(option.help)}]{action}") for name in option.names
    ]


def render_zsh(commands: list[Command]) -> str:
    """For /usr/share/zsh/vendor-completions, as _interceptor."""
    help_of = {command.path: command.help for command in commands}
    out = ["#compdef interceptor", "# Generated: see interceptor/cli/completion.py.", ""]
    for command in reversed(commands):
        out.append("_".join(["_interceptor", *command.path]) + "() {")
        specs = [spec for option in command.options for spec in _zsh_option(option)]
        if not command.commands:
            out += [f"    _arguments {' '.join([*specs, shlex.quote('*:file:_files')])}", "}", ""]
            continue
        out.append(f"    _arguments -C {' '.join(specs)} '1:command:->command' '*::word:->word'")
        told = [f"{name}:{_escaped(help_of[(*command.path, name)])}" for name in command.commands]
        out.append("    case $state in")
        out.append(f"    command) local -a all=({' '.join(map(shlex.quote, told))})")
        out.append("        _describe command all ;;")
        prefix = "_".join(["_interceptor", *command.path])
        out += [f"    word) (( $+functions[{prefix}_$words[1]] )) && {prefix}_$words[1] ;;"]
        out += ["    esac", "}", ""]
    return "\n".join([*out, '_interceptor "$@"', ""])


def render_fish(commands: list[Command]) -> str:
    """For /usr/share/fish/vendor_completions.d."""
    help_of = {command.path: command.help for command in commands}
    out = ["# Generated: see interceptor/cli/completion.py.", "complete -c interceptor -f"]
    for command in commands:
        seen = [f"__fish_seen_subcommand_from {name}" for name in command.path]
        if command.commands:
            seen.append(f"not __fish_seen_subcommand_from {' '.join(command.commands)}")
        when = shlex.quote("; and ".join(seen))
        for name in command.commands:
            told = shlex.quote(help_of[(*command.path, name)])
            out.append(f"complete -c interceptor -n {when} -a {name} -d {told}")
        for option in command.options:
            words = [
                f"-l {name[2:]}" if name[:2] == "--" else f"-s {name[1:]}" for name in option.names
            ]
            if option.values is not None:
                words.append("-r" if option.is_file else "-x")
            if option.is_file:
                words.append("-F")
            if option.values:
                words.append(f"-a {shlex.quote(' '.join(option.values))}")
            told = shlex.quote(option.help)
            out.append(f"complete -c interceptor -n {when} {' '.join(words)} -d {told}")
    return "\n".join([*out, ""])


SHELLS: dict[str, Callable[[list[Command]], str]] = {
    "bash": render_bash,
    "zsh": render_zsh,
    "fish": render_fish,
}

if __name__ == "__main__":
    sys.stdout.write(SHELLS[sys.argv[1]](build()))
