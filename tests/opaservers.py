"""Real OPA servers for tests: started as the docs say, on a socket or TLS, with the library; they end with the test."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lockgate.contract.decision import Question
from lockgate.keys.tls import TlsFiles
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.bundles.archive import pack
from lockgate.policy.bundles.layout import bundle_files
from lockgate.policy.opaserver.endpoint import Endpoint
from lockgate.policy.opaserver.process import SERVER_ENVIRONMENT, server_arguments
from lockgate.policy.port import PolicyEngine
from lockgate.testing.policy_engine import example_input

READY_SECONDS = 120


@dataclass
class Opa:
    """One OPA; `put` hands it a bundle, `start` and `stop` may be called again and again."""

    program: Path
    folder: Path
    endpoint: Endpoint
    files: TlsFiles | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle" / "bundle.tar.gz"

    @property
    def log(self) -> Path:
        return self.folder / "opa.log"

    def put(self, bundle: PolicyBundle) -> None:
        """Replace what it serves, whole."""
        self.put_files(bundle_files(bundle))

    def put_files(self, files: Mapping[str, bytes]) -> None:
        """Replace what it serves by these files."""
        content = pack(files)
        self.bundle.parent.mkdir(exist_ok=True)
        # Beside the watched folder: OPA takes up what comes into it.
        written = self.folder / "bundle.new"
        written.write_bytes(content)
        written.replace(self.bundle)

    def start(self) -> None:
        """Start it; it may not be listening yet."""
        with self.log.open("ab") as log:
            argv = [str(self.program), *server_arguments(self.endpoint, self.bundle, self.files)]
            self.process = subprocess.Popen(argv, cwd=self.folder, stdout=log, stderr=log, env=SERVER_ENVIRONMENT)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it; idempotent."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def require_running(self) -> None:
        """Raises AssertionError with its log when it has ended."""
        assert self.process is not None
        ended = self.process.poll()
        assert ended is None, f"OPA ended with {ended}: {self.last_words()}"

    def last_words(self) -> str:
        """Its log, the last line first: a summary shows one."""
        log = self.log.read_text(errors="replace").splitlines()
        return "\n".join([log[-1] if log else "its log is empty", *log])


@contextlib.contextmanager
def opa_server(program: Path, folder: Path, bundle: PolicyBundle) -> Iterator[Opa]:
    """An OPA on a socket with this bundle, started."""
    server = Opa(program, folder, Endpoint.parse(f"unix://{folder}/opa.sock"))
    server.put(bundle)
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def answering(server: Opa, engine: PolicyEngine, revision: str | None = None) -> None:
    """Until the OPA behind `engine` answers (under `revision`)."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        decision = await engine.decide(Question.LIST, example_input(Question.LIST))
        failed = [
            f"{item.rule} {dict(item.details)}"
            for item in decision.violations
            if item.rule.startswith("lockgate.engine.") and item.rule != "lockgate.engine.no_allow"
        ]
        if not failed and revision in (None, decision.revision):
            return
        server.require_running()
        assert time.monotonic() < deadline, f"OPA does not answer: {failed or decision.revision}; {server.last_words()}"
        await asyncio.sleep(0.02)
