"""The job starts light: what its imports need late is loaded late, and is then the real thing."""

import subprocess
import sys

PROGRAM = """
import sys
from lockgate.job.__main__ import load_when_used
load_when_used("inspect")
import dataclasses, inspect
assert not {"ast", "tokenize", "dis"} & set(sys.modules), "inspect was loaded by an import alone"
@dataclasses.dataclass
class Undocumented:
    size: int
assert Undocumented.__doc__ == "Undocumented(size: int)", Undocumented.__doc__
import inspect as again
from inspect import signature
assert again is sys.modules["inspect"] and again.__file__ and "ast" in sys.modules
assert inspect.signature is signature is again.signature
load_when_used("inspect")
assert sys.modules["inspect"] is again
"""


def test_a_module_loads_at_its_first_use_and_is_the_real_one():
    subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{PROGRAM}"], check=True)


def test_a_job_without_a_runner_refuses_as_before():
    done = subprocess.run([sys.executable, "-m", "lockgate.job"], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert done.stderr.startswith("lockgate job refused: channel: ")


HEAVY = {
    "hashlib",
    "typing",
    "re",
    "enum",
    "json",
    "dataclasses",
    "inspect",
    "collections",
    "functools",
    "pathlib",
    "socket",
    "base64",
}


def test_nothing_heavy_is_loaded_before_ready():
    """Each of these costs a sandbox's start milliseconds; an innocent import brings them all back."""
    program = "import lockgate.job.__main__, lockgate.job.main; print(*sorted(set(sys.modules)))"
    command = [sys.executable, "-I", "-S", "-c", f"import sys\nsys.path[:0] = {sys.path!r}\n{program}"]
    loaded = set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert HEAVY & loaded == set()


def test_a_pods_first_process_starts_light_too():
    """It needs sockets and TLS; an encoder, an event loop or a third party's library would double its start."""
    program = "import lockgate.job.pod.__main__, lockgate.job.pod.main; print(*sorted(set(sys.modules)))"
    command = [sys.executable, "-I", "-S", "-c", f"import sys\nsys.path[:0] = {sys.path!r}\n{program}"]
    loaded = set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert {
        "asyncio",
        "cryptography",
        "ctypes",
        "dataclasses",
        "inspect",
        "json",
        "pathlib",
        "subprocess",
        "typing",
    } & loaded == set()
