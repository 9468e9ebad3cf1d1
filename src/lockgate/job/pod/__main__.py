"""`python -m lockgate.job.pod`: what a pod's image starts; it must hold no logic, and import cheaply: `ready` waits for it."""

from __future__ import annotations

import gc


def main() -> int:
    """Run the pod's first process; exit codes as `lockgate.job.pod.main.main`."""
    gc.disable()  # nothing that an import makes is garbage; what this process keeps later is bounded
    from lockgate.job.pod.main import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
