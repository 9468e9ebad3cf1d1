"""Real OPA servers that decide again beside the embedded engine, one a policy, each gone with its engine. It must not serve anybody else."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lockgate.cli.bound import bound
from lockgate.cli.exits import Exit
from lockgate.cli.problem import Problem

if TYPE_CHECKING:
    from lockgate.policy.bundle import PolicyBundle
    from lockgate.policy.opaserver.endpoint import Dialer, Endpoint
    from lockgate.policy.port import PolicyEngine

READY_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 30.0


class OpaReplays:
    """Starts them below `folder`, a private one. `close` ends what is left; any number of times."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._processes: list[subprocess.Popen[bytes]] = []

    async def make(self, bundle: PolicyBundle) -> PolicyEngine:
        """An engine that asks an OPA of its own with this bundle. Raises Problem when OPA does not come up."""
        from lockgate.policy.keeping import packed
        from lockgate.policy.opaserver.endpoint import Dialer, Endpoint
        from lockgate.policy.opaserver.engine import OpaServer, ServerSettings

        name = f"{len(self._processes)}"
        endpoint, settings = Endpoint(socket=self._folder / f"{name}.sock"), ServerSettings(deadline=ANSWER_SECONDS)
        process = self._start(name, endpoint, packed(bundle))
        dialer = Dialer(endpoint, None, max_body=settings.output_bytes)
        if not await _listening(process, dialer):
            log = "\n".join(self._log(name).read_text("utf-8", "replace").strip().splitlines()[-3:])
            raise Problem(Exit.UNAVAILABLE, f"opa does not serve this policy\n{log}", fix="--engine embedded")
        return OpaServer(bundle, dialer, settings)

    def _start(self, name: str, endpoint: Endpoint, bundle: bytes) -> subprocess.Popen[bytes]:
        from lockgate.policy.opaserver.process import SERVER_ENVIRONMENT, server_arguments

        place = self._folder / name / "bundle.tar.gz"
        place.parent.mkdir(mode=0o700)
        place.write_bytes(bundle)
        with self._log(name).open("wb") as out:
            command = bound(self._program, server_arguments(endpoint, place), SERVER_ENVIRONMENT)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._processes.append(process)
        return process

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def close(self) -> None:
        """End every process that this started."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()


async def _listening(process: subprocess.Popen[bytes], dialer: Dialer) -> bool:
    """Whether OPA listens, which it does once its bundle is loaded; False when it has ended, or does not in time."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while process.poll() is None:
                try:
                    (await dialer.connect()).abort()
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    return True
    except TimeoutError:
        return False
    return False
