"""What shells complete; bash is asked itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from interceptor.cli import completion, reference
from interceptor.cli.completion import Command
from interceptor.host import command

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_interceptor || true  # compgen's code when nothing fits
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def commands() -> list[Command]:
    return completion.build()


@pytest.fixture(scope="module")
def script(commands: list[Command], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bash") / "interceptor"
    path.write_text(completion.render_bash(commands))
    return path


def ask(script: Path, *words: str) -> set[str]:
    """What bash offers for the last of these words."""
    argv = ["bash", "--norc", "-euc", ASK, "bash", str(script), "interceptor", *words]
    return set(command.run(argv).stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["st"], {"status"}),
        (["mesh", ""], {"list", "show", "check", "export"}),
        (["plan", "--f"], {"--facts", "--format"}),
        (["plan", "--format", ""], {"text", "json"}),
        (["run", "--backend", "e"], {"ebpf"}),
        (["mesh", "list", "--js"], {"--json"}),
        (["--config", "x", "run", "--conf"], {"--confirm", "--config"}),
        (["status", "no-option"], set[str]()),
        (["extc"], set[str]()),  # Wireshark's, not people's
    ],
    ids=lambda value: " ".join(sorted(value)),  # of a set too: the same in every process
)
def test_bash_offers_what_fits(script: Path, words: list[str], expected: set[str]) -> None:
    offered = ask(script, *words)
    assert expected <= offered if words == ["mesh", ""] else offered == expected


def test_bash_offers_files_where_a_file_is_asked_for(script: Path, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("")
    assert ask(script, "run", "--config", f"{tmp_path}/o") == {f"{tmp_path}/one.yaml"}


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_every_command_and_option_is_in_every_shell_s_script(
    shell: str, commands: list[Command]
) -> None:
    text = completion.SHELLS[shell](commands)
    for context in reference.commands():
        assert str(context.info_name) in text
    for each in commands:
        for option in each.options:
            for name in option.names:
                word = (
                    f"-l {name[2:]} " if shell == "fish" and name[:2] == "--" else name.strip("-")
                )
                assert word in text, (each.path, name)
