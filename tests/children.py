"""Python in processes of its own, which are forked from one that has imported what they need.

A process that imports torch and lightning anew takes seconds before it begins. Each of these begins as that one did:
nothing but `warm` was run in it. What a command does from its first import on is tested by the processes that are
started with `subprocess`.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from unittest import mock

from tiny import REPOSITORY

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["warm"])
atexit.register(forkserver._forkserver._stop)  # whose processor time counts as that of the tests


class Child:
    """A process that runs `python ARGUMENTS`: a script's path, `-c` and code, or `-m` and a module, and what follows.

    Args:
        arguments: The arguments.
        cwd: Its working directory.
        env: Its environment; None for the one of this process.
    """

    def __init__(self, *arguments: object, cwd: Path = REPOSITORY, env: Mapping[str, str] | None = None) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self._said = TemporaryDirectory()
        files = [f"{self._said.name}/{name}" for name in ("stdout", "stderr")]
        self._process = _context.Process(target=_run, args=(self.arguments, str(cwd), {**(env or os.environ)}, files))
        paths = {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}"}
        with mock.patch.dict(os.environ, paths):
            forkserver.ensure_running()
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Its exit status and what it said, when it has ended; it is killed where that takes longer, in seconds."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(self.arguments, timeout)
        said = [(Path(self._said.name) / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(self.arguments, self._process.exitcode, *said)


def python(*arguments: object, cwd: Path = REPOSITORY, env: Mapping[str, str] | None = None, timeout: float = 300):
    """Run `python ARGUMENTS` as `Child` does, and wait for it."""
    return Child(*arguments, cwd=cwd, env=env).wait(timeout)


def _run(arguments: Sequence[str], cwd: str, env: Mapping[str, str], files: Sequence[str]) -> None:
    """What the interpreter does with its arguments, in the process that was forked."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    code: object = 0
    try:
        _start(*arguments)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _start(first: str, *others: str) -> None:
    names, here = os.environ.get("PYTHONPATH", "").split(os.pathsep), {str(REPOSITORY), str(REPOSITORY / "tests")}
    beside = str(Path(first).absolute().parent) if first.endswith(".py") else str(Path.cwd())
    sys.path[:] = [beside, *filter(None, names), *(path for path in sys.path if path not in here)]
    _leave_out_what_is_of_another_checkout()
    if first == "-c":
        code, *rest = others
        sys.argv[:] = ["-c", *rest]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(code, "<string>", "exec"), main.__dict__)
    elif first == "-m":
        sys.argv[:] = [*others]
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = [first, *others]
        runpy.run_path(first, run_name="__main__")


def _leave_out_what_is_of_another_checkout() -> None:
    """Forget this one's modules where the process is to find the package in another place."""
    own = sys.modules["deepfake"]
    if (found := PathFinder.find_spec("deepfake", sys.path)) is not None and found.origin != own.__file__:
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(REPOSITORY):
                del sys.modules[name]
