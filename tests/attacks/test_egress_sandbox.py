"""From inside a sandbox, by a tool that knows nothing of Lockgate: the one listed place is reached, nothing else is, and every try is told.

As root-started and as an ordinary user, in a world where everything that is refused would answer.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.egress_world import API, METADATA, OTHER, World
from tests.jobroots import PROVIDER_PACKAGES

from lockgate.runner.sandbox.runtime_root import JobRoot, build_job_root

IS_ROOT = os.geteuid() == 0
ORDINARY_UID = 64_900

OUTSIDE = """
import asyncio, json, sys
from pathlib import Path
sys.path.append(sys.argv[1])
from lockgate.runner.egress.rules import EgressRules
from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox, BubblewrapSettings
from lockgate.runner.sandbox.port import Bind
from lockgate.runner.sandbox.runtime_root import JobRoot
from lockgate.testing.sandbox import Bench, converse
def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    said = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {"uid": int(said["Uid"].split()[0]), "seccomp": said["Seccomp"], "caps": said["CapEff"], "new": said["NoNewPrivs"]}
async def main(root, base, program, given):
    provider = BubblewrapSandbox(BubblewrapSettings(Path(base)))
    bench = Bench(provider, JobRoot(Path(root), "", {}), Path(base))
    rules = EgressRules(("api.example:8443",), (), ("gateway.example",))
    binds = (Bind(Path(base, "certificate.pem"), "/run/ca.pem"),)
    run = await provider.start(bench.spec(program, egress=rules, binds=binds))
    found = await converse(run, given)
    launcher = provider._client._process.pid
    served = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    proxy = [pid for pid in served if Path(f"/proc/{pid}/status").read_text().count("python")][0]
    there = status(proxy)
    proof = await provider.destroy(run.id)
    await provider.close()
    left = [str(path) for path in Path(base).rglob(f"*{run.id}*")]
    tunnels = [[note.host, note.port, note.address, note.outcome] for note in run.tunnels]
    return {"found": found, "proxy": there, "gone": not Path(f"/proc/{proxy}").exists(), "checks": dict(proof.checks),
            "torn_down": proof.torn_down, "left": left, "tunnels": tunnels}
print(json.dumps(asyncio.run(main(*json.loads(sys.argv[2])))))
"""

INSIDE = """
inputs = begin()
import ssl, urllib.error, urllib.request
from lockgate.job.egress import local_proxy
proxy = local_proxy(os.environ["LOCKGATE_EGRESS_SOCKET"])
os.environ.update(HTTPS_PROXY=proxy, https_proxy=proxy)
context = ssl.create_default_context(cafile="/run/ca.pem")
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_): return None
def get(url, *handlers):
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), *handlers)
    try: return str(opener.open(url, timeout=30).status)
    except urllib.error.HTTPError as error: return str(error.code)
    except OSError as error: return str(error)
answers = {
    "listed": get("https://api.example:8443/", Stay),
    "redirected": get("https://api.example:8443/"),
    "another port": get("https://api.example:443/"),
    "metadata": get("https://169.254.169.254/latest/meta-data/"),
    "plain": get("http://api.example/"),
}
direct = [place for place in inputs["addresses"] if not failed(socket.create_connection, (place, 443), 5)]
names = failed(socket.getaddrinfo, "api.example", 443)
result(answers=answers, direct=direct, names=names)
channel.recv(1)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="egress-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def root_of_jobs(place: Path) -> JobRoot:
    return build_job_root(place, packages=PROVIDER_PACKAGES)


def ways(mode: str) -> tuple[bool, list[str]]:
    """Whether the world is made by root, and what makes the program in it the mode's user."""
    if mode == "root":
        return True, []
    if IS_ROOT:
        return True, ["setpriv", f"--reuid={ORDINARY_UID}", f"--regid={ORDINARY_UID}", "--clear-groups"]
    return False, ["unshare", "--user", f"--map-user={ORDINARY_UID}", f"--map-group={ORDINARY_UID}"]


@pytest.mark.parametrize("mode", ["root", "ordinary user"] if IS_ROOT else ["ordinary user"])
def test_a_tool_reaches_the_listed_place_and_no_other(place: Path, root_of_jobs: JobRoot, mode: str) -> None:
    as_root, becoming = ways(mode)
    base = place / mode.replace(" ", "-")
    base.mkdir()
    world = World(base, as_root=as_root)
    (base / "certificate.pem").chmod(0o644)
    if becoming and IS_ROOT:
        shutil.chown(base, ORDINARY_UID, ORDINARY_UID)
    before = {address: world.connections(address) for address in (METADATA, OTHER)}
    given = json.dumps([str(root_of_jobs.path), str(base), INSIDE, {"addresses": [API, METADATA, "127.0.0.1"]}])
    python = [str(root_of_jobs.path / "python/bin/python3"), "-I", "-S", "-B", "-c", OUTSIDE]
    ran = world.order(
        op="run",
        argv=[*becoming, *python, str(root_of_jobs.path / "lib"), given],
        env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(root_of_jobs.path / "python/lib")},
    )
    after = {address: world.connections(address) for address in before}
    world.close()
    assert ran["code"] == 0, ran["err"]
    told: dict[str, Any] = json.loads(ran["out"])
    answers = told["found"]["answers"]
    assert answers["listed"] == "302"
    assert "403 not_allowed" in answers["redirected"]
    assert "403 not_allowed" in answers["another port"]
    assert "403 not_allowed" in answers["metadata"]
    assert not answers["plain"].isdecimal()
    assert told["found"]["direct"] == [] and told["found"]["names"]
    assert after == before
    assert told["tunnels"] == [
        ["api.example", 8443, API, "closed"],
        ["api.example", 8443, API, "closed"],
        ["elsewhere.example", 443, "", "not_allowed"],
        ["api.example", 443, "", "not_allowed"],
        [METADATA, 443, "", "not_allowed"],
    ]
    assert told["torn_down"] and told["checks"]["egress"] and told["gone"] and told["left"] == []
    assert (told["proxy"]["seccomp"], told["proxy"]["new"], set(told["proxy"]["caps"])) == ("2", "1", {"0"})
    assert told["proxy"]["uid"] != 0
