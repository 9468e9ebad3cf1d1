"""`make cluster`: start, stop and look at the single-node Kubernetes that the tests run on; it must not touch any other cluster.

Usage: .venv/bin/python -m tests.cluster up|down|status|kubeconfig|image|kubectl ARGUMENTS... The programs are those that LOCKGATE_KUBERNETES and
LOCKGATE_KUBERNETES_POD name, else what `tools/get` builds.
"""

from __future__ import annotations

import os
import sys
import time

from tests.cluster import images, leftovers, lifecycle
from tests.cluster.place import ClusterError, Place, standing
from tests.cluster.programs import built

USAGE = "usage: python -m tests.cluster up|down|status|kubeconfig|image|kubectl ARGUMENTS"


def up(place: Place) -> None:
    """Start it, and say how to use it."""
    programs = built()
    started = time.monotonic()
    new = lifecycle.up(place, programs)
    how = f"ready in {time.monotonic() - started:.1f} s" if new else "stands already"
    print(f"Kubernetes at {place.api}: {how}")
    print(f"export KUBECONFIG={place.kubeconfig}")
    print("end it with: make cluster-down")


def status(place: Place) -> None:
    """What runs; exit 1 unless all of it does."""
    if lifecycle.recorded_state(place) is None:
        sys.exit(f"no cluster at {place.home}" + "".join(f"\nleft: {each}" for each in leftovers.found(place)))
    missing = lifecycle.missing_parts(place)
    if missing:
        sys.exit(f"not running: {', '.join(missing)}; run: make cluster-down cluster")
    lifecycle.wait_ready(place)
    print(f"Kubernetes at {place.api}: ready")


def main(argv: list[str]) -> None:
    """Carry out one verb; exit 1 with the reason where it cannot."""
    place = standing()
    try:
        match argv:
            case ["up"]:
                up(place)
            case ["down"]:
                lifecycle.down(place)
            case ["status"]:
                status(place)
            case ["kubeconfig"]:
                print(place.kubeconfig)
            case ["image"]:
                print(images.bring(place).pinned)
            case ["kubectl", *words]:
                program = str(built().kubernetes)
                os.execv(program, [program, "kubectl", f"--kubeconfig={place.kubeconfig}", *words])
            case _:
                sys.exit(USAGE)
    except ClusterError as error:
        sys.exit(f"cluster: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
