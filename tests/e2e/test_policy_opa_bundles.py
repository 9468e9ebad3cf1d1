"""A gateway whose decisions are made by an OPA that takes its bundle from the same server by itself: nothing is published to it."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.test_policy_bundles import Bundles, bundles, rules, started
from tests.e2e.test_processes import until
from tests.e2e.test_records import command
from tests.unit.policy.bundles.bundling import key_files

from lockgate.policy.bundle import PolicyBundle, Release, library_with, load_library
from lockgate.policy.bundles.keys import signing_key
from lockgate.policy.bundles.release import signed_archive
from lockgate.policy.opaserver.process import SERVER_ENVIRONMENT

__all__ = ["bundles"]  # the fixture
pytestmark = pytest.mark.opa


@contextlib.contextmanager
def fetching_opa(program: Path, folder: Path, server: Bundles, public: Path) -> Iterator[str]:
    """The URL of an OPA that polls `server` as an operator's own would, and verifies what it gets."""
    host, _, resource = server.url.rpartition("/")
    config = {
        "services": {"bundles": {"url": host}},
        "keys": {"release": {"algorithm": "ES256", "key": public.read_text()}},
        "bundles": {
            "lockgate": {
                "service": "bundles",
                "resource": resource,
                "signing": {"keyid": "release"},
                "polling": {"min_delay_seconds": 1, "max_delay_seconds": 1},
            }
        },
    }
    (folder / "opa.yaml").write_text(yaml.safe_dump(config))
    url = f"unix://{folder}/opa.sock"
    arguments = ["run", "--server", "--config-file", str(folder / "opa.yaml"), "--authorization=basic", "--addr", url]
    arguments += ["--unix-socket-perm=600", "--skip-version-check", "--log-level=error"]
    with (folder / "opa.log").open("wb") as log:
        argv = [str(program), *arguments]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=SERVER_ENVIRONMENT)
    try:
        yield url
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def place() -> Iterator[Path]:
    """Of a short name: a socket lies in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_an_opa_that_fetches_its_own_bundle_decides_by_what_the_gateway_verified(
    bare_deployment: Any, bundles: Bundles, opa: Path, place: Path
) -> None:
    deployment = bare_deployment
    private, public = key_files(place)
    first = load_library(deployment.home / "policy" / "data.yaml")
    text = first.data_text.replace("expires_in_seconds: 3600", "expires_in_seconds: 1800")
    second = library_with(text, "data.yaml")
    assert second.revision != first.revision
    key, now = signing_key("release", private), int(time.time())

    def release(policy: PolicyBundle, sequence: int) -> None:
        bundles.content = signed_archive(policy, Release(sequence, int(time.time())), key)

    def allowed() -> tuple[str, str]:
        """A call that must be allowed: by which engine and revision it was."""
        assert rules(deployment) == []
        record = command(deployment, "decisions", "list", "--limit", "1")[1]["decisions"][0]
        return record["engine"], record["revision"]

    release(first, now)
    with fetching_opa(opa, place, bundles, public) as url:
        settings = deployment.home / "gateway.yaml"
        document = yaml.safe_load(settings.read_text())
        source = {"source": "http", "url": bundles.url, "poll": 1.0, "keys": {"release": str(public)}}
        document["policy"] = {**source, "engine": "opa", "opa": {"url": url, "deadline": 20.0}}
        settings.write_text(yaml.safe_dump(document))
        started(deployment)
        until(deployment, lambda: rules(deployment) == [])
        assert allowed() == ("opa", first.revision)
        # Another policy: each fetches it in its own time, and nobody is denied meanwhile.
        release(second, now + 1)
        until(deployment, lambda: allowed() == ("opa", second.revision))
    # Gone: what only the gateway has decides nothing.
    assert rules(deployment) == ["lockgate.engine.unavailable"]
