"""The job's image: all that its interpreter and tools are linked with, nothing of this machine's own, and the job starts in it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.contract.podchannel import IMAGE_FILES
from lockgate.runner.image.archive import Image
from lockgate.runner.image.job import key_of, write_job_image
from lockgate.runner.image.system import ImageError, libraries, system_entries
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot, build_job_root, job_root_digest

pytestmark = pytest.mark.slow

TOOL = "#!/bin/sh\necho a tool\n"
PROVIDER = "a provider"


@pytest.fixture(scope="module")
def job_root(tmp_path_factory: pytest.TempPathFactory) -> JobRoot:
    return build_job_root(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def image(job_root: JobRoot, tmp_path_factory: pytest.TempPathFactory) -> Image:
    tool = tmp_path_factory.mktemp("tool") / "tofu-1.2"
    tool.write_text(TOOL)
    provider = tool.with_name("terraform-provider-x")
    provider.write_text(PROVIDER)
    out = tmp_path_factory.mktemp("image") / "job.tar"
    return write_job_image(out, job_root, tools={"tofu": tool}, held=[provider, tool])


def layers(image: Image) -> Iterator[tarfile.TarFile]:
    with tarfile.open(image.archive) as archive:

        def blob(digest: str) -> bytes:
            content = archive.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert content is not None
            return content.read()

        for each in json.loads(blob(image.digest))["layers"]:
            with tarfile.open(fileobj=io.BytesIO(blob(each["digest"]))) as layer:
                yield layer


@pytest.fixture(scope="module")
def unpacked(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    for layer in layers(image):
        layer.extractall(root, filter="fully_trusted")
    return root


def inside(root: Path, job_root: JobRoot, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the image as its whole world."""
    words = ["bwrap", "--unshare-all", "--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--clearenv"]
    for name, value in {"PATH": "/usr/local/bin:/usr/bin", **job_root.environment()}.items():
        words += ["--setenv", name, value]
    return subprocess.run([*words, *argv], capture_output=True, text=True, check=False, timeout=300)


def test_the_job_is_imported_where_there_is_nothing_but_the_image(unpacked: Path, job_root: JobRoot) -> None:
    code = f"import sys; sys.path.append('{INSIDE}/lib'); import ssl, sqlite3, ctypes, lockgate.job.main, lockgate.job.verify; print('imported')"
    ran = inside(unpacked, job_root, *job_root.interpreter(), "-c", code)
    assert (ran.stdout, ran.stderr) == ("imported\n", "")


def test_the_programs_that_tools_call_run_in_it(unpacked: Path, job_root: JobRoot) -> None:
    ran = inside(
        unpacked, job_root, "/bin/sh", "-c", "tofu; echo one | sed s/one/two/; tar --version | head -n 1; env -i true"
    )
    assert ran.stdout.splitlines()[:2] == ["a tool", "two"]
    assert (ran.returncode, ran.stderr) == (0, "")


def test_every_library_that_anything_in_it_is_linked_with_is_in_it(unpacked: Path, job_root: JobRoot) -> None:
    code = (
        "import os, subprocess; "
        "elves = [os.path.join(f, n) for top in ('/lockgate', '/usr') for f, _, ns in os.walk(top) for n in ns]; "
        "elves = [each for each in elves if not os.path.islink(each) and open(each, 'rb').read(4) == b'\\x7fELF']; "
        "print(len(elves)); [print(each) for each in elves]"
    )
    told = inside(unpacked, job_root, *job_root.interpreter(), "-c", code).stdout.splitlines()
    loader = next(str(path.relative_to(unpacked)) for path in (unpacked / "usr").glob("lib*/ld-linux*"))
    assert int(told[0]) > 50
    listed = inside(
        unpacked, job_root, "/bin/sh", "-c", f'for each in {" ".join(told[1:])}; do /{loader} --list "$each"; done'
    )
    assert "not found" not in listed.stdout


def test_nothing_in_it_is_set_apart_for_a_user_or_named_after_a_place_of_this_machine(image: Image) -> None:
    members = [member for layer in layers(image) for member in layer]
    assert [one.name for one in members if one.mode & 0o6000 or (one.mode & 0o002 and one.isreg())] == []
    tops = {one.name.split("/")[0] for one in members}
    assert tops == {
        "bin",
        "dev",
        "etc",
        "lib",
        "lib64",
        "lockgate",
        "lockgate-image",
        "proc",
        "run",
        "sbin",
        "sys",
        "tmp",
        "usr",
        "work",
    }
    assert {one.name for one in members if one.name.startswith("etc/")} - {"etc/ssl", "etc/ssl/certs"} == {
        *(f"etc/{name}" for name in ("passwd", "group", "nsswitch.conf", "hosts", "hostname", "host.conf")),
        "etc/ssl/certs/ca-certificates.crt",
    }


def test_what_stages_need_not_be_sent_lies_in_it_once_each_under_its_digest(unpacked: Path) -> None:
    held = {path.name: path.read_text() for path in (unpacked / IMAGE_FILES.lstrip("/")).iterdir()}
    assert held == {hashlib.sha256(text.encode()).hexdigest(): text for text in (TOOL, PROVIDER)}
    assert (unpacked / "usr/local/bin/tofu").readlink() == Path(IMAGE_FILES) / hashlib.sha256(TOOL.encode()).hexdigest()


def test_our_own_code_is_a_layer_of_its_own_so_that_a_change_of_it_is_small(image: Image) -> None:
    *others, code = [{one.name for one in layer} for layer in layers(image)]
    assert code
    assert all(name.startswith("lockgate/lib/lockgate") for name in code)
    assert not any(name.startswith("lockgate/lib/lockgate/") for names in others for name in names)


def test_a_root_that_is_not_built_has_the_digest_that_it_would_have(job_root: JobRoot, tmp_path: Path) -> None:
    assert job_root_digest() == job_root.digest
    tool = tmp_path / "tool"
    tool.write_text("one")
    keys = {key_of(job_root.digest, {}), key_of(job_root.digest, {"tofu": tool}), key_of("0" * 64, {})}
    tool.write_text("two")
    assert len(keys | {key_of(job_root.digest, {"tofu": tool})}) == 4


def test_a_program_that_is_not_on_this_machine_is_named(job_root: JobRoot) -> None:
    with pytest.raises(ImageError, match="no-such-program is not on this machine"):
        system_entries([], programs=("no-such-program",))


def test_the_locale_that_jobs_run_in_is_there_or_the_image_is_not_made(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {one.name for layer in layers(image) for one in layer}
    assert "usr/lib/locale/C.utf8/LC_CTYPE" in there
    monkeypatch.setattr("lockgate.runner.image.system.LOCALE", str(tmp_path / "C.utf8"))
    with pytest.raises(ImageError, match=r"C\.utf8 is not on this machine"):
        system_entries([])


def test_a_library_outside_the_system_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ldd = tmp_path / "ldd"
    ldd.write_text("#!/bin/sh\nprintf '\\tlibodd.so => /opt/odd/libodd.so (0x00007f00)\\n'\n")
    ldd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ImageError, match=r"/opt/odd/libodd\.so: linked with, and not of the system"):
        libraries([Path("/usr/bin/env")])
    ldd.write_text("#!/bin/sh\nprintf '\\tlibodd.so => not found\\n'\n")
    with pytest.raises(ImageError, match=r"libodd\.so: linked with, and not on this machine"):
        libraries([Path("/usr/bin/env")])
