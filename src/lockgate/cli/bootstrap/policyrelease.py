"""The first signed policy of a production deployment: a release key, and a bundle of the library with the sample data. It never replaces one."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from lockgate.cli.bootstrap.layout import RELEASE, Layout
from lockgate.keys.privatefile import write_public
from lockgate.policy.bundle import Release, load_library
from lockgate.policy.bundles.keys import generate_signing_key, signing_key, write_verifying_key
from lockgate.policy.bundles.release import signed_archive


def first_release(made: Layout) -> Layout:
    """Make what is missing of release key and bundle. Once the key was moved away nothing is made. Raises KeyFileError, PolicyLoadError, OSError."""
    created, kept = [], []
    if not os.path.lexists(made.release_key) and not os.path.lexists(made.release_public):
        generate_signing_key(made.release_key)
        created.append(made.release_key)
    has_key = os.path.lexists(made.release_key)
    for path in (made.release_public, made.policy_bundle):
        if os.path.lexists(path):
            kept.append(path)
        elif has_key:
            if path == made.release_public:
                write_verifying_key(made.release_key, path)
            else:
                now = int(time.time())
                key = signing_key(RELEASE, made.release_key)
                bundle = load_library(made.policy_data / "data.yaml")
                write_public(path, signed_archive(bundle, Release(now, now), key))
            created.append(path)
    return replace(made, created=(*made.created, *created), kept=(*made.kept, *kept))
