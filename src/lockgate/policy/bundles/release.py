"""Turns a bundle into a signed release of it: sequence and time into the manifest, then the signature over everything. It loads nothing."""

from __future__ import annotations

from dataclasses import replace

from lockgate.policy.bundle import PolicyBundle, Release
from lockgate.policy.bundles.archive import pack
from lockgate.policy.bundles.keys import BundleKey
from lockgate.policy.bundles.layout import SIGNATURES, bundle_files
from lockgate.policy.bundles.signature import sign_files


def signed_archive(bundle: PolicyBundle, release: Release, key: BundleKey, scope: str = "") -> bytes:
    """The archive of this release; the revision is the same whatever the release says. With EdDSA and RS256 the same input gives the same bytes."""
    files = bundle_files(replace(bundle, release=release))
    return pack(files | {SIGNATURES: sign_files(files, key, scope)})
