"""Start and stop a cluster: both may be called at any time and any number of times; a start that finds one running leaves it alone."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cluster import images, leftovers, machine, parts, pki, processes, settings
from tests.cluster.api import Access, Api, Refused
from tests.cluster.parts import HOLDER, MOUNTED, STARTS, STOPS, Programs
from tests.cluster.place import ClusterError, Place

READY_SECONDS = 300.0
LOOK_SECONDS = 0.05
PAUSE = threading.Event()
IMPORT_SECONDS = 300


def _notes() -> Path:
    """Where each cluster of this machine has a file: its lock, and in it where it lives."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lockgate" / "clusters"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _others(place: Place) -> bool:
    """Whether another cluster stands on this machine."""
    homes = {note.read_text().strip() for note in _notes().iterdir()} - {"", str(place.home)}
    return any(processes.recorded(Place(Path(home)), HOLDER) for home in homes)


@contextlib.contextmanager
def _alone(place: Place) -> Iterator[None]:
    """One start or stop of a cluster of this number at a time, and none of one that lives elsewhere: addresses and tables are named by number."""
    with (_notes() / f"cluster-{place.number}").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        home = lock.read().strip()
        if home and home != str(place.home) and machine.has_address(place):
            raise ClusterError(
                f"cluster {place.number} of this machine lives at {home}: end it by LOCKGATE_CLUSTER={home} make cluster-down"
            )
        lock.truncate(0)
        lock.write(f"{place.home}\n")
        lock.flush()
        yield


def up(place: Place, programs: Programs) -> bool:
    """A running cluster of these programs at this place; True if it was started, False if it stood. What has died of it is started again.

    Raises ClusterError.
    """
    machine.require()
    with _alone(place):
        state = recorded_state(place)
        if state is not None and processes.recorded(place, HOLDER) is not None:
            if state["programs"] != _named(programs):
                raise ClusterError(
                    f"{place.home}: a cluster of other programs runs here; end it first: make cluster-down"
                )
            mend(place)
            return False
        _down(place)
        try:
            _start(place, programs)
        except BaseException:
            _down(place, keep_logs=True)
            raise
        return True


def down(place: Place) -> None:
    """No cluster at this place, and nothing left of one; raises ClusterError naming what could not be removed."""
    machine.require()
    with _alone(place):
        _down(place)


def _named(programs: Programs) -> list[str]:
    return [str(programs.kubernetes), str(programs.pod)]


def recorded_state(place: Place) -> dict[str, Any] | None:
    """What the start wrote down, or None where nothing was started."""
    try:
        state: dict[str, Any] = json.loads((place.home / "cluster.json").read_text())
    except FileNotFoundError:
        return None
    return state


def missing_parts(place: Place) -> list[str]:
    """The parts that do not run."""
    return [part for part in (HOLDER, *STARTS) if processes.recorded(place, part) is None]


@contextlib.contextmanager
def held(place: Place, programs: Programs) -> Iterator[None]:
    """A cluster that stands meanwhile; it is ended afterwards if it did not stand before. Raises ClusterError."""
    started = up(place, programs)
    try:
        yield
    finally:
        if started:
            down(place)


def mend(place: Place) -> None:
    """Start the parts that do not run, in order, and return when all of it answers; raises ClusterError, also where the holder is gone."""
    missing = missing_parts(place)
    if "kube-apiserver" in missing:
        # Whoever lost it looks for it again ever more seldom, for up to a minute; started anew they know at once what holds now.
        for part in [each for each in STARTS[STARTS.index("netpol") :] if each not in missing]:
            processes.stop(place, part)
            missing.append(part)
    for part in sorted(missing, key=(HOLDER, *STARTS).index):
        start_part(place, part)
        if (
            part == "kube-apiserver"
        ):  # refused for ten seconds, as by one that has yet to read its roles, the controllers end
            _wait_api(place)
    wait_ready(place)


def _start(place: Place, programs: Programs) -> None:
    for folder in ("pids", "logs", "etcd", "kubelet", "containerd", "cni/net.d", "cni/bin"):
        (place.home / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    place.home.chmod(0o711)
    state = {
        "programs": _named(programs),
        "forwarding": machine.set_forwarding("1"),
        "folders": machine.make_folders(parts.PRIVATE),
    }
    (place.home / "cluster.json").write_text(json.dumps(state) + "\n")
    _configure(place, programs)
    machine.make_cgroups(place)
    machine.add_address(place)
    processes.spawn(place, HOLDER, parts.holder())
    wait_until(lambda: _mounted(place), "its mounts", place, HOLDER)
    for part in ("containerd", "etcd"):
        start_part(place, part)
    wait_until((place.home / "etcd.sock").exists, "etcd's socket", place, "etcd")
    start_part(place, "kube-apiserver")
    _import_pause(place, programs.pod)
    api = _wait_api(place)
    for path, item in settings.netpol_access():
        api.ask("POST", path, item)
    for part in STARTS[STARTS.index("netpol") :]:
        start_part(place, part)
    wait_ready(place)


def _configure(place: Place, programs: Programs) -> None:
    folder = machine.plugin_folder()
    assert folder is not None, "machine.require looked"
    for name in machine.PLUGINS:
        (place.home / "cni/bin" / name).symlink_to(folder / name)
    (place.home / "cni/bin/announce").symlink_to(programs.pod)
    lower = machine.may_lower_oom_score()
    (place.home / "containerd.toml").write_text(settings.containerd(place, may_lower_oom_score=lower))
    for name, content in {
        "cni/net.d/10-pods.conflist": settings.network(place),
        "kubelet.json": settings.kubelet(place, may_lower_oom_score=lower),
        "audit-policy.json": settings.audit_policy(),
    }.items():
        (place.home / name).write_text(json.dumps(content, indent=1) + "\n")
    pki.make(place, datetime.datetime.now(datetime.UTC))


def start_part(place: Place, part: str) -> None:
    """Start one part, in the holder's mount namespace if it mounts; raises ClusterError if it ends at once or runs already."""
    if processes.recorded(place, part) is not None:
        raise ClusterError(f"{part} runs already")
    state = recorded_state(place)
    if state is None:
        raise ClusterError(f"no cluster at {place.home}; start it: make cluster")
    programs = Programs(*map(Path, state["programs"]))
    argv = parts.command(part, place, programs)
    if part in MOUNTED:
        argv = [*_inside(place), *argv]
    if part == "netpol":  # one that was killed leaves it, and it would be taken for the next one's
        place.netpol_socket.unlink(missing_ok=True)
    processes.spawn(place, part, argv)


def _inside(place: Place) -> list[str]:
    holder = processes.recorded(place, HOLDER)
    if holder is None:
        raise ClusterError("the holder of the cluster's mounts is gone; run: make cluster-down cluster")
    return ["nsenter", f"--target={holder.pid}", "--mount", "--"]


def _mounted(place: Place) -> bool:
    holder = processes.recorded(place, HOLDER)
    if holder is None:
        return False
    lines = Path(f"/proc/{holder.pid}/mounts").read_text().splitlines()
    return {line.split()[1] for line in lines if line.split()[2] == "tmpfs"} >= set(parts.PRIVATE)


def _import_pause(place: Place, pod_program: Path) -> None:
    """Bring the image that holds each pod's namespaces; containerd knows it by name alone, as its configuration does."""
    import_archive(place, images.pause_archive(pod_program, place.home).archive)


def import_archive(place: Place, archive: Path) -> None:
    """Give an OCI archive to containerd; raises ClusterError."""
    wait_until(lambda: containerd_answers(place), "containerd", place, "containerd")
    done = ctr(place, "images", "import", str(archive), seconds=IMPORT_SECONDS)
    if done.returncode != 0:
        raise ClusterError(f"containerd did not take {archive.name}: {done.stderr.strip()}")


def holds_image(place: Place, reference: str) -> bool:
    """Whether containerd has an image under this name."""
    return reference in ctr(place, "images", "ls", "--quiet").stdout.splitlines()


def ctr(place: Place, *words: str, seconds: float = 120.0) -> subprocess.CompletedProcess[str]:
    """One of containerd's own commands, in the namespace of Kubernetes."""
    argv = ["ctr", "--address", str(place.containerd_socket), "--namespace", "k8s.io", *words]
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=seconds)


def containerd_answers(place: Place) -> bool:
    """Whether the runtime takes requests."""
    return place.containerd_socket.exists() and ctr(place, "version").returncode == 0


def wait_ready(place: Place) -> None:
    """Return when the API answers, the node is ready, pods may be made and policies are enforced; raises ClusterError after READY_SECONDS."""
    api = _wait_api(place)
    wait_until(lambda: node_ready(api, place.node), "the node", place, "kubelet")
    wait_until(lambda: has_account(api), "service accounts", place, "kube-controller-manager")
    wait_until(
        lambda: machine.has_table(place) and place.netpol_socket.exists(), "the NetworkPolicy agent", place, "netpol"
    )
    dead = missing_parts(place)
    if dead:
        raise ClusterError(f"{dead[0]} ended; the end of its log:\n{processes.last_words(place.log(dead[0]))}")


def _wait_api(place: Place) -> Api:
    """The API as an administrator, once the server knows all that it stores."""
    api = Api(Access.read(place.kubeconfig))
    wait_until(lambda: api.text("/readyz") == "ok", "the API server", place, "kube-apiserver")
    return api


def node_ready(api: Api, node: str) -> bool:
    """Whether the node takes pods."""
    found = api.ask("GET", f"/api/v1/nodes/{node}")
    conditions = {each["type"]: each["status"] for each in found["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and not found["spec"].get("taints")


def has_account(api: Api) -> bool:
    """Whether the controllers have come as far as making accounts for new namespaces."""
    return bool(api.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default"))


def wait_until(holds: Callable[[], bool], what: str, place: Place, part: str) -> None:
    """Look until something holds; raises ClusterError when the part ended or READY_SECONDS passed, with its last words."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException, Refused):
            if holds():
                return
        ended = processes.recorded(place, part) is None
        if ended or time.monotonic() > deadline:
            why = f"{part} ended" if ended else f"not within {READY_SECONDS:.0f} s"
            raise ClusterError(f"{what}: {why}; the end of {place.log(part)}:\n{processes.last_words(place.log(part))}")
        PAUSE.wait(LOOK_SECONDS)


def _down(place: Place, *, keep_logs: bool = False) -> None:
    state = recorded_state(place)
    if state is not None:
        processes.stop(place, "kubelet")
        _remove_pods(place, Path(state["programs"][0]))
        for part in STOPS:
            processes.stop(place, part)
    leftovers.kill_processes(place)
    if state is not None:
        processes.stop(place, HOLDER)
        if not _others(place):  # they need both as well
            machine.set_forwarding(state["forwarding"])
            machine.remove_folders(state["folders"])
    machine.remove_table(place)
    machine.remove_address(place)
    machine.remove_cgroups(place)
    if keep_logs:
        for entry in place.home.iterdir():
            if entry.name != "logs":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    elif place.home.exists():
        shutil.rmtree(place.home)
    left = leftovers.found(place)
    if left and not keep_logs:
        raise ClusterError("the cluster ended, but left: " + "; ".join(left))


def _remove_pods(place: Place, kubernetes: Path) -> None:
    """End every pod through the runtime, so that its network goes the way it came; a runtime that died is started for it."""
    if processes.recorded(place, HOLDER) is None:
        return  # its mounts are gone, so is all that ran on them or it is found as a leftover
    if processes.recorded(place, "containerd") is None:
        start_part(place, "containerd")
    wait_until(lambda: containerd_answers(place), "containerd", place, "containerd")
    endpoint = f"unix://{place.containerd_socket}"
    argv = [str(kubernetes), "sandboxes", f"--endpoint={endpoint}", "remove"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=READY_SECONDS)
    if done.returncode != 0:
        raise ClusterError(f"pods could not be ended: {done.stderr.strip()}")
