"""Run a Python module again and again without importing the big libraries each time: a process that has them forks a child for each
run. It must never import what is being tested, so every run reads that from the tree as it is then.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

LIBRARIES = (
    "pytest", "hypothesis", "mcp.server.lowlevel", "mcp_types", "pydantic", "starlette.applications", "uvicorn", "cryptography.x509",
    "joserfc.jwt", "jsonschema_rs", "structlog", "rich.console", "typer", "wasmtime", "opentelemetry.sdk.trace", "prometheus_client", "yaml",
)  # fmt: skip
TESTED = ("lockgate", "tests")


class Forks:
    """The process that forks, in a folder and an environment. `run` may be called from one thread at a time."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        pipe = subprocess.PIPE
        argv = [sys.executable, __file__]
        self._process = subprocess.Popen(argv, cwd=folder, env=env, stdin=pipe, stdout=pipe, text=True)

    def run(self, *argv: str, output: Path, seconds: int) -> int:
        """Run a module with its arguments, as `python -m` would, all it prints in `output`; its exit code, -9 when it took too long."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101  (both are pipes)
        print(json.dumps([argv, str(output), seconds]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that forks ended with {self._process.wait()}")
        return int(answer)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def serve() -> None:
    """Fork for each line of stdin and answer with the exit code; in a child, return by the SystemExit of the module that it runs."""
    sys.path[0] = os.getcwd()  # noqa: PTH109  (as `python -m` has it, a string)
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    for line in sys.stdin:
        argv, output, seconds = json.loads(line)
        if told := sorted(name for name in sys.modules if name.split(".")[0] in TESTED):
            sys.exit(f"tools/forks.py has imported {told[0]}: runs would not see it change")
        if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
            sys.exit("tools/forks.py has more than one thread: what the others hold would stay held in a child")
        child = os.fork()
        if child == 0:
            become(argv, output)
        print(ended(child, seconds), flush=True)


def ended(child: int, seconds: int) -> int:
    """The exit code of a child that is killed after so many seconds."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(seconds)
    status = os.waitpid(child, 0)[1]
    signal.alarm(0)
    return os.waitstatus_to_exitcode(status)


def become(argv: list[str], output: str) -> None:
    """Be `python -m` with these words, reading nothing and printing into a file."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123  (for as long as the process lives)
    nothing, printed = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for target, source in ((0, nothing), (1, printed), (2, printed)):
        os.dup2(source, target)
    sys.argv = argv
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    serve()
