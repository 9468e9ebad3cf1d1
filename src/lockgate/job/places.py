"""Where the runner put things inside the sandbox; it must not be steered by what an agent or a source says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lockgate.contract import jobchannel


class Places(NamedTuple):
    """Paths, as text because `pathlib` costs the job 5 ms before `ready`; `root` is the job root with the tools."""

    keyset: str = jobchannel.KEYSET_FILE
    root_key: str = jobchannel.ROOT_KEY_FILE
    source: str = jobchannel.SANDBOX_SOURCE
    scratch: str = jobchannel.SANDBOX_SCRATCH
    credentials: str = jobchannel.SANDBOX_CREDENTIALS
    root: str = jobchannel.SANDBOX_ROOT
    plan: str = jobchannel.SANDBOX_PLAN
    state: str = jobchannel.SANDBOX_STATE
    tool: str = jobchannel.SANDBOX_TOOL
    providers: str = jobchannel.SANDBOX_PROVIDERS


def places(environment: Mapping[str, str]) -> Places:
    """The same paths at / in a sandbox, and below the directory that only a dev runner without sandboxes names.

    Whoever sets a job's environment starts it, and could start anything; a real sandbox clears the environment first.
    """
    below = environment.get(jobchannel.UNSAFE_ROOT_VARIABLE, "")
    return Places(*(below + path for path in Places())) if below.startswith("/") else Places()
