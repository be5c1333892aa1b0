"""A process that compiles: it is waited for, told from one that failed, and ended when it has to be."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from inr_gadgets.reconstruction import compile_apart as module
from inr_gadgets.reconstruction.compile_apart import CompilingError, compile_apart


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


@pytest.mark.parametrize("gently", [False, True])
def test_it_is_told_the_size_and_waited_for(gently: bool, tmp_path: Path) -> None:
    said = tmp_path / "said"
    program = f"import sys, time; time.sleep(0.3); open({str(said)!r}, 'w').write(' '.join(sys.argv[1:]))"
    assert compile_apart((192, 160), lambda: False, gently=gently, command=python(program))
    assert said.read_text() == ("--gently " if gently else "") + "160x192"


def test_it_is_killed_when_it_has_to_stop() -> None:
    began = time.monotonic()
    assert not compile_apart((192, 160), lambda: True, command=python("import time; time.sleep(60)"))
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("print('a lot'); raise SystemExit('no room for it')", "^no room for it$"),
        ("raise SystemExit(3)", "^it ended with code 3$"),
    ],
)
def test_a_failure_is_told_by_its_last_line(program: str, reason: str) -> None:
    with pytest.raises(CompilingError, match=reason):
        compile_apart((192, 160), lambda: False, command=python(program))


def test_a_failure_that_says_much_does_not_block() -> None:
    with pytest.raises(CompilingError, match=r"^last$"):
        compile_apart((8, 8), lambda: False, command=python("print('x' * 10**6); raise SystemExit('last')"))


def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

    def interrupted() -> bool:
        if pid.exists() and pid.read_text():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        compile_apart((8, 8), interrupted, command=python(program))
    assert not Path(f"/proc/{pid.read_text()}").exists()


def test_it_is_in_a_group_but_not_in_a_session_of_its_own(tmp_path: Path) -> None:
    said = tmp_path / "said"
    program = f"import os; open({str(said)!r}, 'w').write(f'{{os.getpgrp() == os.getpid()}} {{os.getsid(0)}}')"
    assert compile_apart((8, 8), lambda: False, command=python(program))
    assert said.read_text() == f"True {os.getsid(0)}"


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    with pytest.raises(CompilingError, match=r"^it did not end within 0.3 s$"):
        compile_apart((8, 8), lambda: False, command=python("import time; time.sleep(60)"))
