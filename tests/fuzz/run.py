"""Long runs of the fuzz targets, led by coverage (atheris): `scripts/fuzz`.

Each target runs in a child, a slice of time after the other; what libFuzzer
says is read for the figures. Inputs that open new ways go to a folder of this
run; `--keep` takes some of them into the corpus of the repository.
"""

from __future__ import annotations

import argparse
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import target

LONGEST = 4096  # bytes of one input; documents are longer than packets, and seldom need more
KEPT = 60  # inputs of one target and one run in the repository
DONE = re.compile(r"Done (\d+) runs in (\d+) second")
COVERAGE = re.compile(r"cov: (\d+) ft: (\d+)")


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one target. ``first`` and ``last``: edges covered by the corpus, and in the end."""

    name: str
    inputs: int
    seconds: int
    first: int
    last: int
    findings: tuple[Path, ...]

    def __str__(self) -> str:
        growth = f"{self.first:6} -> {self.last:6}"
        found = f"{len(self.findings):3} findings"
        return f"{self.name:12} {self.inputs:10} inputs {self.seconds:5} s  cov {growth} {found}"


def fuzz(name: str, arguments: list[str]) -> None:
    """Become libFuzzer on one target; does not return."""
    import atheris

    logging.disable(logging.CRITICAL)  # a line for each input
    with atheris.instrument_imports(include=["interceptor"], enable_loader_override=False):
        chosen = target.load(name)
    run = chosen.run
    atheris.Setup([sys.argv[0], *arguments], run)
    atheris.Fuzz()


def start(name: str, seconds: int, seed: int, folder: Path) -> Figures:
    """Fuzz one target for so long. Crashing inputs are put in ``folder``."""
    fresh, crashes = folder / name, folder / f"{name}-findings"
    for each in (fresh, crashes):
        each.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(target.load(name).seeds()):
        (fresh / f"seed-{number:03}").write_bytes(each)
    flags = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={crashes}/",
        "-timeout=20",
        "-rss_limit_mb=2048",
        str(fresh),
    ]
    corpus = target.CORPUS / name
    if corpus.is_dir():
        flags.append(str(corpus))
    argv = [sys.executable, "-m", "tests.fuzz.run", "--child", name, *flags]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    (folder / f"{name}.log").write_text(done.stdout + done.stderr)
    return figures(name, done.stdout + done.stderr, tuple(sorted(crashes.iterdir())))


def figures(name: str, text: str, findings: tuple[Path, ...]) -> Figures:
    """What libFuzzer has told. A run that ended early tells its last count only."""
    cover = [int(found[1]) for found in COVERAGE.finditer(text)] or [0]
    done = DONE.search(text)
    counts = [int(found) for found in re.findall(r"^#(\d+)", text, re.MULTILINE)] or [0]
    inputs, seconds = (int(done[1]), int(done[2])) if done else (counts[-1], 0)
    return Figures(name, inputs, seconds, cover[0], cover[-1], findings)


def keep(name: str, folder: Path) -> int:
    """Take what opened new ways into the corpus: the smallest first, which mostly are plainest.
    Findings of earlier times stay."""
    corpus = target.CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    fresh = [path for path in (folder / name).iterdir() if not path.name.startswith("seed-")]
    for path in sorted(fresh, key=lambda path: (path.stat().st_size, path.name))[:KEPT]:
        shutil.copy(path, corpus / path.name[:12])
    return len(target.corpus(name))


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        fuzz(sys.argv[2], sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(target.MODULES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where inputs and findings go")
    parser.add_argument("--keep", action="store_true", help="take new inputs into the corpus")
    options = parser.parse_args()
    unknown = set(options.targets) - set(target.MODULES)
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="interceptor-fuzz-"))
    found = False
    for name in options.targets or target.MODULES:
        result = start(name, options.seconds, options.seed, folder)
        print(result, flush=True)
        for each in result.findings:
            print(f"  {each}", flush=True)
        found = found or bool(result.findings)
        if options.keep:
            print(f"  {keep(name, folder)} inputs kept", flush=True)
    print(f"seed {options.seed}; inputs and logs: {folder}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
