"""Where the runner put things inside the sandbox; it must not be steered by what an agent or a source says."""

from __future__ import annotations

from lockgate.contract import jobplaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Places:
    """Paths, as text because `pathlib` costs the job 5 ms before `ready`; `root` is the job root with the tools. `below` goes before each."""

    def __init__(self, below: str = "") -> None:
        self.keyset = below + jobplaces.KEYSET_FILE
        self.root_key = below + jobplaces.ROOT_KEY_FILE
        self.source = below + jobplaces.SANDBOX_SOURCE
        self.scratch = below + jobplaces.SANDBOX_SCRATCH
        self.credentials = below + jobplaces.SANDBOX_CREDENTIALS
        self.root = below + jobplaces.SANDBOX_ROOT
        self.plan = below + jobplaces.SANDBOX_PLAN
        self.state = below + jobplaces.SANDBOX_STATE
        self.tool = below + jobplaces.SANDBOX_TOOL
        self.providers = below + jobplaces.SANDBOX_PROVIDERS


def places(environment: Mapping[str, str]) -> Places:
    """The same paths at / in a sandbox, and below the directory that only a dev runner without sandboxes names.

    Whoever sets a job's environment starts it, and could start anything; a real sandbox clears the environment first.
    """
    below = environment.get(jobplaces.UNSAFE_ROOT_VARIABLE, "")
    return Places(below if below.startswith("/") else "")
