"""What a source needs beside itself: providers come from the mirror, by the hashes of its lock file, and modules from the source alone."""

from __future__ import annotations

import shutil

import pytest
from tests.unit.job.opentofu.conftest import REQUIRES

from lockgate.job.drivers.port import StageRefused

pytestmark = pytest.mark.tofu

ONE = 'resource "terraform_data" "one" {\n  input = 1\n}\n'


def test_a_provider_that_is_not_in_the_mirror_is_named(site):
    site.write("main.tf", REQUIRES + 'resource "local_file" "f" {\n  filename = "/dev/null"\n  content  = ""\n}\n')
    site.lock()
    empty = site.base / "empty"
    empty.mkdir()
    for result in (
        site.planned(providers=empty),
        site.planned(providers=None),
        site.derive(site.plan(), providers=empty),
    ):
        assert result.status == "failed"
        assert f"provider {site.host}/hashicorp/local is not in the runner's mirror" in result.detail


def test_a_provider_of_another_build_than_the_lock_file_pins_is_refused(site):
    site.write("main.tf", REQUIRES + 'resource "local_file" "f" {\n  filename = "/dev/null"\n  content  = ""\n}\n')
    path = site.lock()
    plan = site.plan()
    other = site.base / "other"
    shutil.copytree(site.mirror, other)
    for binary in other.rglob("terraform-provider-local_*"):
        binary.write_bytes(binary.read_bytes() + b"\n")
    for result in (
        site.planned(providers=other),
        site.derive(plan, providers=other),
        site.apply(plan, providers=other),
    ):
        assert result.status == "failed"
        assert (
            f"provider {site.host}/hashicorp/local 2.5.0: the build in the runner's mirror is not the one"
            in result.detail
        )
    path.write_text(path.read_text().replace("2.5.0", "2.4.0"))
    assert "hashicorp/local is in the runner's mirror, but not in the version" in site.planned().detail


def test_a_lock_file_that_pins_too_little_is_refused(site):
    site.write("main.tf", REQUIRES + 'resource "local_file" "f" {\n  filename = "/dev/null"\n  content  = ""\n}\n')
    result = site.planned()
    assert result.status == "failed"
    assert "the lock file does not pin every provider" in result.detail
    path = site.lock()
    text = path.read_text()
    path.write_text(text[: text.index("  hashes")] + "}\n")
    with pytest.raises(StageRefused, match=r"^entry: \.terraform\.lock\.hcl: .*version and hashes"):
        site.planned()


def test_a_provider_that_the_source_brings_along_is_not_used(site):
    site.write(
        "main.tf",
        'terraform {\n  required_providers {\n    rogue = { source = "evil/rogue" }\n  }\n}\nresource "rogue_x" "x" {}\n',
    )
    plugins = site.source / "terraform.d" / "plugins"
    binary = next(site.mirror.rglob("terraform-provider-local_*"))
    place = plugins / site.host / "evil" / "rogue" / "1.0.0" / binary.parent.name
    place.mkdir(parents=True)
    shutil.copy(binary, place / "terraform-provider-rogue_v1.0.0")
    mirror, site.mirror = site.mirror, plugins
    site.lock()
    site.mirror = mirror
    result = site.planned()
    assert result.status == "failed"
    assert f"provider {site.host}/evil/rogue is not in the runner's mirror" in result.detail


@pytest.mark.parametrize(
    "source",
    [
        "../../outside",
        "../../../../outside",
        "BASE/outside",
        "git::file:///tmp/no-such-repository",
        "hashicorp/consul/aws",
    ],
)
def test_a_module_from_outside_the_source_is_refused(site, source):
    (site.base / "outside").mkdir()
    (site.base / "outside" / "main.tf").write_text(ONE)
    site.write("root/main.tf", f'module "m" {{\n  source = "{source.replace("BASE", str(site.base))}"\n}}\n')
    # The fourth directory above the root module's copy is the test's own, where a module does lie.
    if source in ("../../../../outside", "BASE/outside"):
        with pytest.raises(StageRefused, match=r"^modules: 'm' does not lie in the source"):
            site.planned(entry="root")
    else:
        result = site.planned(entry="root")
        assert result.status == "failed"
        assert "modules must lie in the source" in result.detail


def test_a_module_beside_the_root_module_is_part_of_the_source(site):
    site.write("shared/main.tf", ONE)
    site.write("root/main.tf", 'module "m" {\n  source = "../shared"\n}\n')
    plan = site.plan(entry="root")
    assert [change["address"] for change in site.derive(plan).changes] == ["module.m.terraform_data.one"]
    assert site.apply(plan, entry="root").status == "ok"
