"""Where the runner put things inside the sandbox; it must not be steered by the environment."""

from __future__ import annotations

from typing import NamedTuple

from lockgate.contract import jobchannel


class Places(NamedTuple):
    """Paths, as text because `pathlib` costs the job 5 ms before `ready`; only tests say other than the defaults."""

    keyset: str = jobchannel.KEYSET_FILE
    root_key: str = jobchannel.ROOT_KEY_FILE
    source: str = jobchannel.SANDBOX_SOURCE
    scratch: str = jobchannel.SANDBOX_SCRATCH
    credentials: str = jobchannel.SANDBOX_CREDENTIALS
