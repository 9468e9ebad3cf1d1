"""A gateway that takes its policy from a bundle server: it comes up without one, takes signed ones up while it runs, and outlives bad ones."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.conftest import Process
from tests.e2e.test_processes import until
from tests.unit.policy.bundles.bundling import key_files

from lockgate.policy.bundle import Release, load_library
from lockgate.policy.bundles.archive import pack, unpack
from lockgate.policy.bundles.keys import signing_key
from lockgate.policy.bundles.release import signed_archive


class Bundles(http.server.ThreadingHTTPServer):
    """Serves `content` with its digest as ETag; nothing: 404."""

    content: bytes | None = None
    unchanged = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/lockgate.tar.gz"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Bundles
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content = self.server.content
        etag = f'"{hashlib.sha256(content or b"").hexdigest()}"'
        same = content is not None and self.headers["if-none-match"] == etag
        self.server.unchanged += same
        self.send_response(404 if content is None else 304 if same else 200)
        self.send_header("etag", etag)
        body = b"" if same else content or b""
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def bundles() -> Iterator[Bundles]:
    with Bundles(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def started(deployment: Any) -> None:
    """The gateway, ready or not."""
    log = deployment.home / f"gateway-{len(deployment.processes)}.log"
    command = [sys.executable, "-m", "lockgate.cli", "gateway", "--home", str(deployment.home)]
    with log.open("wb") as sink:
        popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)
    deployment.processes["gateway"] = Process(popen, log)
    until(deployment, lambda: answers(deployment))


def answers(deployment: Any) -> dict[str, Any] | None:
    """What it says of itself; None before it listens."""
    try:
        document: dict[str, Any] = deployment.rest("GET", "/healthz", None)[1]
    except OSError:
        return None
    return document


def rules(deployment: Any) -> list[str]:
    """By which rules a call is denied; none: it is not."""
    arguments = {"service": "shop", "replicas": 3, "target": "web-dev", "reason": "more customers"}
    asked = {"action": "set_replicas", "arguments": arguments}
    status, document = deployment.rest("POST", "/api/v1/operations", deployment.token("alice"), asked)
    assert status in (201, 403), document
    return [rule["rule"] for rule in document.get("rules", ())]


def test_policy_comes_from_a_bundle_server_and_nothing_bad_from_it_counts(
    bare_deployment: Any, bundles: Bundles, tmp_path: Path
) -> None:
    deployment = bare_deployment
    private, public = key_files(tmp_path)
    settings = deployment.home / "gateway.yaml"
    document = yaml.safe_load(settings.read_text())
    document["policy"] = {"source": "http", "url": bundles.url, "poll": 1.0, "keys": {"release": str(public)}}
    settings.write_text(yaml.safe_dump(document))
    policy = load_library(deployment.home / "policy" / "data.yaml")
    key, now = signing_key("release", private), int(time.time())

    def release(sequence: int, max_age: int | None = None) -> bytes:
        return signed_archive(policy, Release(sequence, int(time.time()), max_age), key)

    def told(what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        found: dict[str, Any] = until(deployment, lambda: (said := answers(deployment)) and what(said) and said)
        return found

    def logged() -> str:
        text: str = deployment.processes["gateway"].log.read_text()
        return text

    # No bundle yet: it is up, not ready, and denies by name.
    started(deployment)
    said = told(lambda said: said["policy"]["reasons"])
    assert (said["ready"], said["policy"]["revision"]) == (False, "none")
    assert said["policy"]["reasons"] == ["no_policy", "source_unavailable"]
    assert "answers 404" in logged()
    assert rules(deployment) == ["lockgate.engine.no_policy"]
    # A signed one: it is in force without a restart, and asked for by its tag from then on.
    bundles.content = release(now)
    said = told(lambda said: said["ready"])
    assert (said["policy"]["revision"], said["policy"]["key"], said["policy"]["sequence"]) == (
        policy.revision,
        "release",
        now,
    )
    assert rules(deployment) == []
    until(deployment, lambda: bundles.unchanged)
    # Changed on the way, older, gone: each is told, and what was good decides.
    files = unpack(release(now + 1), "p")
    for content, reason, words in (
        (pack(files | {"lockgate/plan.rego": b"package lockgate.plan\n"}), "bundle_refused", "is not what was signed"),
        (release(now - 1), "bundle_refused", f"is {now - 1}, older than {now}"),
        (None, "source_unavailable", "answers 404"),
    ):
        bundles.content = content
        until(deployment, lambda words=words: words in logged())  # type: ignore[misc]
        said = told(lambda said, reason=reason: reason in said["policy"]["reasons"])  # type: ignore[misc]
        assert (said["ready"], said["policy"]["sequence"]) == (True, now)
        assert rules(deployment) == []
    # One that gets too old denies by name, until a newer one comes.
    bundles.content = release(now + 2, max_age=1)
    told(lambda said: "stale" in said["policy"]["reasons"])
    assert rules(deployment) == ["lockgate.engine.stale"]
    epoch = told(lambda said: "stale" in said["policy"]["reasons"])["epoch"]
    bundles.content = release(now + 3)
    told(lambda said: said["ready"] and said["epoch"] > epoch)  # in force, and recorded
    assert rules(deployment) == []
    # Restarted while the server is away, or has something older, it goes on with what it had.
    for content, reason, words in (
        (None, "source_unavailable", "answers 404"),
        (release(now), "bundle_refused", f"is {now}, older than {now + 3}"),
    ):
        deployment.processes["gateway"].stop()
        bundles.content = content
        started(deployment)
        said = told(lambda said, reason=reason: reason in said["policy"]["reasons"])  # type: ignore[misc]
        assert (said["ready"], said["policy"]["sequence"], words in logged()) == (True, now + 3, True)
        assert rules(deployment) == []
    # A copy that somebody changed is none.
    deployment.processes["gateway"].stop()
    (copy,) = deployment.home.rglob("last-good-policy/*.tar.gz")
    copy.write_bytes(pack(unpack(copy.read_bytes(), "p") | {"lockgate/plan.rego": b"package lockgate.plan\n"}))
    started(deployment)
    assert not told(lambda said: "no_policy" in said["policy"]["reasons"])["ready"]
    assert rules(deployment) == ["lockgate.engine.no_policy"]
    bundles.content = release(now + 4)
    told(lambda said: said["ready"])
    assert rules(deployment) == []
