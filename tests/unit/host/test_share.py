from __future__ import annotations

import sys
from pathlib import Path

from interceptor.host import command, share


def output(code: str) -> str:
    return command.run([sys.executable, "-c", f"from interceptor.host import share; {code}"]).stdout


def test_the_soft_limit_of_descriptors_goes_up_to_the_hard_one() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (50, 77)); "
    assert output(limit + "share.raise_files(); print(share.files())") == "77\n"


def test_a_process_has_its_turn_when_memory_runs_out() -> None:
    """Only to be spared takes a capability (CAP_SYS_RESOURCE), which containers may lack."""
    code = "print(share.rank(321), open('/proc/self/oom_score_adj').read())"
    assert output(code).split() == ["True", "321"]


def test_who_may_not_be_spared_is_as_others_are() -> None:
    code = "print(share.rank(share.SUPERVISOR), open('/proc/self/oom_score_adj').read())"
    may, score = output(code).split()
    assert score == (
        str(share.SUPERVISOR)
        if may == "True"
        else Path("/proc/self/oom_score_adj").read_text().strip()
    )


def test_a_process_that_is_not_there_is_no_error() -> None:
    assert not share.rank(0, 2**22 + 1)
    assert Path("/proc/self/oom_score_adj").exists()
