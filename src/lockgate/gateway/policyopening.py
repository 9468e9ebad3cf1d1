"""Makes a PolicyKeeper of the gateway's settings: which source, which trust, which engine. It looks at nothing yet."""

from __future__ import annotations

import random
import time
from typing import Final

from lockgate.gateway.observing import Observer
from lockgate.gateway.policykeeping import PolicyKeeper, Trust
from lockgate.gateway.policyserving import ServedEngine
from lockgate.gateway.policysettings import PolicySettings
from lockgate.gateway.settings import GatewaySettings
from lockgate.policy.acceptance import Acceptance
from lockgate.policy.bundles.keys import verifying_key
from lockgate.policy.bundles.signature import Verifier
from lockgate.policy.embedded import complete_engine
from lockgate.policy.freshness import Clocks
from lockgate.policy.inforce import PolicyInForce
from lockgate.policy.sources.file import DirectorySource, FileSource
from lockgate.policy.sources.http import BundleServer, HttpSource
from lockgate.policy.sources.lastgood import LastGood
from lockgate.policy.sources.library import LibrarySource
from lockgate.policy.sources.port import BundleSource

COPY_FOLDER: Final = "last-good-policy"
"""Beside the store, so that it is backed up, moved and lost together with what says which release was in force."""
CLOCKS: Final = Clocks(time.time, lambda: time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)))


def open_keeper(settings: GatewaySettings, observer: Observer, clocks: Clocks = CLOCKS) -> PolicyKeeper:
    """The keeper of a gateway, with no policy yet. Reads the pinned keys. Raises KeyFileError."""
    policy = settings.policy
    served = ServedEngine(policy.opa, dev=settings.dev) if policy.engine == "opa" else None
    source = bundle_source(settings)
    kept = policy.source == "http" and policy.persist
    keeper = PolicyKeeper(
        in_force=PolicyInForce(clocks),
        source=source,
        trust=policy_trust(policy, dev=settings.dev),
        make=served or complete_engine,
        clocks=clocks,
        pause=policy.poll if policy.source == "http" else settings.timing.reload,
        jitter=random.random,
        count=observer.metrics.count,
        copy=LastGood(settings.store.parent / COPY_FOLDER, source.name) if kept else None,
    )
    if served is not None:
        served.look = keeper.look
    return keeper


def bundle_source(settings: GatewaySettings) -> BundleSource:
    """Where the settings say that policy comes from."""
    policy = settings.policy
    if policy.path is not None:
        return DirectorySource(policy.path) if policy.source == "directory" else FileSource(policy.path)
    if policy.url is not None:
        server = BundleServer(
            policy.url,
            deadline=policy.deadline,
            ca=policy.ca,
            certificate=policy.certificate,
            key=policy.key,
            token_file=policy.token_file,
        )
        return HttpSource(server, dev=settings.dev)
    return LibrarySource(settings.policy_data)


def policy_trust(policy: PolicySettings, *, dev: bool) -> Trust:
    """What the settings believe: outside dev, and wherever a key is pinned, nothing without a signature. Raises KeyFileError."""
    signed = policy.source != "library" and (bool(policy.keys) or not dev)
    keys = {name: verifying_key(name, path) for name, path in policy.keys.items()}
    return Trust(
        acceptance=Acceptance(signed, policy.allow_rollback, policy.pin),
        verifier=Verifier(keys, policy.scope) if signed else None,
        max_age=policy.max_age,
    )
