"""`lockgate image`: the archive it writes is the one it names, and a tool that is not there is refused before anything is made."""

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Ran

from lockgate.cli.exits import Exit

Run = Callable[..., Ran]


@pytest.mark.slow
def test_it_says_the_digest_that_the_archive_has(run: Run, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    (tmp_path / "mirror/x").mkdir(parents=True)
    (tmp_path / "mirror/x/terraform-provider-x").write_text("a provider")
    archive = tmp_path / "job.tar"
    given = ("--tool", f"tofu={tool}", "--providers", str(tmp_path / "mirror"))
    ran = run("image", str(archive), "--name", "here.test/ours", *given, "--json")
    assert ran.exit == Exit.OK
    with tarfile.open(archive) as made:
        digest = ran.document["digest"].removeprefix("sha256:")
        manifest = made.extractfile(f"blobs/sha256/{digest}")
        assert manifest is not None
        content = manifest.read()
        tools = made.extractfile(f"blobs/sha256/{json.loads(content)['layers'][2]['digest'].removeprefix('sha256:')}")
        with tarfile.open(fileobj=tools) as layer:
            held = {Path(name).name for name in layer.getnames() if name.startswith("lockgate-image/")}
    assert hashlib.sha256(content).hexdigest() == digest
    assert len(json.loads(content)["layers"]) == 4, "system, interpreter, tools, our code"
    assert held == {hashlib.sha256(text).hexdigest() for text in (b"#!/bin/sh\n", b"a provider")}
    assert ran.document["image"] == f"here.test/ours@sha256:{digest}"


@pytest.mark.parametrize("tool", ["tofu", "tofu=", "=/bin/sh", "tofu=/nonexistent", "usr/tofu=/bin/sh"])
def test_a_tool_without_a_name_or_a_file_is_refused(run: Run, tmp_path: Path, tool: str) -> None:
    ran = run("image", str(tmp_path / "job.tar"), "--tool", tool, "--json")
    assert ran.exit == Exit.USAGE
    assert ran.document["error"]["field"] == "tool"
    assert list(tmp_path.glob("*.tar")) == []


@pytest.mark.parametrize("mirror", ["nothing", "empty"])
def test_a_mirror_without_a_file_is_refused(run: Run, tmp_path: Path, mirror: str) -> None:
    (tmp_path / "empty").mkdir()
    ran = run("image", str(tmp_path / "job.tar"), "--providers", str(tmp_path / mirror), "--json")
    assert ran.exit == Exit.USAGE
    assert ran.document["error"]["field"] == "providers"
    assert list(tmp_path.glob("*.tar")) == []
