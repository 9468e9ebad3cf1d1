"""Programs and providers are trusted by the digest of the very copy that stages see; what is not listed is not there, and is named."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lockgate.contract.jobplaces import SANDBOX_PROVIDERS, SANDBOX_TOOL
from lockgate.runner.acceptance import Accepted
from lockgate.runner.equipment import equip
from lockgate.runner.parts import Parts
from lockgate.runner.settings import (
    ProviderSettings,
    RunnerKeys,
    RunnerSettings,
    SandboxSettings,
    ToolSettings,
)
from lockgate.runner.toolbox import Toolbox, ToolboxError, h1_of_directory, h1_of_zip, open_toolbox
from lockgate.wire.settingsfile import SettingInvalid

PACKAGE = "registry.opentofu.org/hashicorp/local/2.5.0/linux_amd64"

CONTENT = b"provider"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tofu-1.12").write_bytes(b"engine")
    directory = tmp_path / "mirror" / PACKAGE
    directory.mkdir(parents=True)
    (directory / "terraform-provider-local_v2.5.0").write_bytes(CONTENT)
    return tmp_path


def opened(place: Path, *, dev: bool = True, providers: dict[str, Any] | None = None, **tool: Any) -> Toolbox:
    nowhere = place / "nowhere"
    settings = RunnerSettings(
        id="r",
        deployment="d",
        region="l",
        gateway="https://g",
        keys=RunnerKeys(*[nowhere] * 7),
        state_dir=nowhere,
        sandbox=SandboxSettings(base_dir=place / "box"),
        dev=dev,
        tools={"opentofu": ToolSettings(path=place / "bin" / "tofu-1.12", **tool)},
        providers=ProviderSettings(mirror=place / "mirror", **(providers or {})),
    )
    return open_toolbox(settings)


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_a_listed_build_is_copied_under_its_own_name(place: Path) -> None:
    program = opened(place, sha256=(sha256(b"engine"),)).programs["opentofu"]
    assert (program.directory / "tofu").read_bytes() == b"engine"
    assert [path.name for path in program.directory.iterdir()] == ["tofu"]
    (place / "bin" / "tofu-1.12").write_bytes(b"changed since")
    assert (program.directory / "tofu").read_bytes() == b"engine"


def test_a_stage_is_given_a_tool_and_providers_with_the_digests_that_were_trusted(place: Path) -> None:
    box = opened(place, sha256=(sha256(b"engine"),), version="1.12.6")
    target = SimpleNamespace(driver="opentofu", settings={"engine": "opentofu"}, name="t")
    accepted = SimpleNamespace(work=SimpleNamespace(target=target), target=SimpleNamespace(keeps_state=True))
    tool, mirror = equip(cast("Parts", SimpleNamespace(toolbox=box)), cast("Accepted", accepted)).binds
    assert (tool.target, tool.contents) == (SANDBOX_TOOL, {"tofu": sha256(b"engine").removeprefix("sha256:")})
    assert (mirror.target, mirror.contents) == (SANDBOX_PROVIDERS, box.contents)


def test_a_build_that_is_not_listed_is_not_there_and_is_named(place: Path) -> None:
    box = opened(place, sha256=(sha256(b"another"),))
    assert "opentofu" not in box.programs
    (said,) = [text for text in box.untrusted if text.startswith("opentofu")]
    assert sha256(b"engine") in said and "tools.opentofu.sha256" in said


def test_any_build_counts_under_dev_alone(place: Path) -> None:
    assert opened(place, any=True).programs
    with pytest.raises(SettingInvalid, match="dev"):
        opened(place, any=True, dev=False)
    with pytest.raises(SettingInvalid, match=r"providers\.any"):
        opened(place, providers={"any": True}, dev=False)


def test_a_program_that_is_not_there_is_named_by_its_setting(place: Path) -> None:
    (place / "bin" / "tofu-1.12").unlink()
    with pytest.raises(ToolboxError, match=r"tools\.opentofu\.path"):
        opened(place)


def test_a_mirror_that_is_not_there_is_named_by_its_setting(place: Path) -> None:
    (place / "mirror").rename(place / "elsewhere")
    with pytest.raises(ToolboxError, match=r"providers\.mirror"):
        opened(place)


def test_a_listed_provider_is_there_and_one_with_another_hash_is_not_and_is_named(place: Path) -> None:
    other = place / "mirror" / PACKAGE.replace("local", "other")
    other.mkdir(parents=True)
    (other / "terraform-provider-other").write_bytes(b"rogue")
    box = opened(place, providers={"h1": (h1_of_directory(place / "mirror" / PACKAGE),)})
    assert box.mirror is not None
    assert list(box.providers) == [PACKAGE]
    assert (box.mirror / PACKAGE / "terraform-provider-local_v2.5.0").read_bytes() == CONTENT
    assert [path.name for path in box.mirror.rglob("*") if path.is_file()] == ["terraform-provider-local_v2.5.0"]
    held = hashlib.sha256(CONTENT).hexdigest()
    assert box.contents == {f"{PACKAGE}/terraform-provider-local_v2.5.0": held}, "and nothing of the other"
    (said,) = [text for text in box.untrusted if text.startswith("provider")]
    assert "other" in said and h1_of_directory(other) in said


def test_a_package_has_the_same_hash_zipped_and_unpacked(place: Path) -> None:
    packed = place / "terraform-provider-local_2.5.0_linux_amd64.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(place / "mirror" / PACKAGE / "terraform-provider-local_v2.5.0", "terraform-provider-local_v2.5.0")
    assert h1_of_zip(packed) == h1_of_directory(place / "mirror" / PACKAGE)


def test_what_is_no_zip_is_named(place: Path) -> None:
    (place / "mirror" / "h" / "n" / "t").mkdir(parents=True)
    (place / "mirror" / "h" / "n" / "t" / "terraform-provider-t_1_linux_amd64.zip").write_bytes(b"not a zip")
    with pytest.raises(ToolboxError, match="terraform-provider-t_1"):
        opened(place, providers={"any": True})


def test_a_change_of_the_mirror_is_another_directory(place: Path) -> None:
    first = opened(place, providers={"any": True})
    (place / "mirror" / PACKAGE / "terraform-provider-local_v2.5.0").write_bytes(b"newer")
    second = opened(place, providers={"any": True})
    assert first.mirror != second.mirror
    assert first.providers != second.providers


@pytest.mark.tofu
def test_the_hash_is_the_one_that_the_engines_write_into_lock_files(
    provider_mirror: Path, terraform: Path, tmp_path: Path
) -> None:
    (tmp_path / "main.tf").write_text(
        'terraform {\n  required_providers {\n    local = { source = "hashicorp/local" }\n  }\n}\n'
    )
    (tmp_path / "rc").write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{provider_mirror}"\n  }}\n}}\n'
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TF_CLI_CONFIG_FILE": str(tmp_path / "rc")}
    subprocess.run([terraform, "init", "-input=false"], cwd=tmp_path, env=env, check=True, stdout=subprocess.DEVNULL)
    (package,) = provider_mirror.glob("registry.terraform.io/hashicorp/local/*/*")
    assert h1_of_directory(package) in (tmp_path / ".terraform.lock.hcl").read_text()


def test_a_copy_of_an_earlier_start_is_not_believed_for_its_name(place: Path) -> None:
    """Whoever could write there once (a dev runner without sandboxes, a disk that lost power) would be trusted at every start."""
    first = opened(place, any=True, providers={"any": True})
    assert first.mirror is not None
    files = [first.programs["opentofu"].directory / "tofu", next(first.mirror.rglob("terraform-provider-*"))]
    for file in files:
        file.chmod(0o755)
        file.write_bytes(b"evil")
    again = opened(place, any=True, providers={"any": True})
    assert again == first
    assert [file.read_bytes() for file in files] == [b"engine", CONTENT]


def test_files_that_only_look_like_the_trusted_ones_in_the_hash_are_refused(place: Path) -> None:
    """Go's dirhash refuses such names too: one file named over two lines hashes as two."""
    directory = place / "two"
    directory.mkdir()
    (directory / "a").write_bytes(b"a")
    (directory / "b").write_bytes(b"b")
    trusted = h1_of_directory(directory)
    assert trusted.startswith("h1:")
    (directory / "a").unlink()
    (directory / "b").unlink()
    (directory / f"a\n{hashlib.sha256(b'b').hexdigest()}  b").write_bytes(b"a")
    with pytest.raises(ToolboxError, match="line break"):
        h1_of_directory(directory)


def test_a_zip_that_holds_a_name_twice_is_refused(place: Path) -> None:
    """Which of the two an engine unpacks is the engine's affair; the hash would be of one of them."""
    packed = place / "twice.zip"
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("terraform-provider-local", b"evil")
        archive.writestr("terraform-provider-local", CONTENT)
    with pytest.raises(ToolboxError, match="twice"):
        h1_of_zip(packed)
