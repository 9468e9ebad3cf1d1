"""The built programs of the cluster, found as every tool of the tests is; it must not build anything by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cluster.parts import Programs
from tests.cluster.place import ClusterError

GET = Path(__file__).resolve().parents[2] / "tools" / "get"


def built() -> Programs:
    """Those that the environment names, else what `tools/get` has or builds; raises ClusterError."""
    return Programs(tool("kubernetes"), tool("kubernetes-pod"))


def tool(name: str) -> Path:
    """A program of the tests. Raises ClusterError."""
    given = os.environ.get(f"LOCKGATE_{name.upper().replace('-', '_')}")
    if not given:
        done = subprocess.run([sys.executable, str(GET), name], check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise ClusterError(f"{name} could not be built; see above")
        given = done.stdout.splitlines()[-1]
    if not os.access(given, os.X_OK):
        raise ClusterError(f"{name}: {given} is no program")
    return Path(given)
