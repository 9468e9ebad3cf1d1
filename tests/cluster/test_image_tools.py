"""OpenTofu in a real cluster, from an image that has it and from one that has not: a stage is sent the tool or its digest, and plans either way."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from tests.cluster import images
from tests.cluster.identity import Identity
from tests.cluster.providers import made
from tests.cluster.running import Cluster

from lockgate.contract.jobplaces import SANDBOX_TOOL
from lockgate.runner.image.archive import Image
from lockgate.runner.sandbox.port import Bind, ChannelError, SandboxLimits
from lockgate.runner.sandbox.runtime_root import INSIDE, JobRoot
from lockgate.testing.sandbox import Bench, converse

pytestmark = [pytest.mark.kubernetes, pytest.mark.node, pytest.mark.tofu]

PLANS = f"""
import subprocess
begin()
os.makedirs("/work/scratch/config")
open("/work/scratch/config/main.tf", "w").write('resource "terraform_data" "greeting" {{ input = "hello" }}')
def tofu(*words):
    argv = ["{SANDBOX_TOOL}/tofu", "-chdir=/work/scratch/config", *words, "-no-color", "-input=false"]
    return subprocess.run(argv, capture_output=True, text=True, env={{"PATH": "/usr/bin", "HOME": "/work/scratch", "TMPDIR": "/tmp"}})
done = [tofu("init"), tofu("plan")]
result(codes=[each.returncode for each in done], said=done[1].stdout[-2000:] + done[1].stderr[-500:], linked=os.path.islink("{SANDBOX_TOOL}/tofu"))
"""


@pytest.mark.parametrize("has", [True, False], ids=["in the image", "not in the image"])
async def test_a_stage_is_sent_the_tool_only_where_its_image_has_it_not(
    cluster: Cluster, runner: Identity, job_image: Image, tofu: Path, tmp_path: Path, has: bool
) -> None:
    assert cluster.place is not None
    image = images.bring(cluster.place, {"tofu": tofu}) if has else job_image
    folder = tmp_path / "tool"
    folder.mkdir()
    shutil.copyfile(tofu, folder / "tofu")
    (folder / "tofu").chmod(0o555)
    size, digest = tofu.stat().st_size, hashlib.sha256(tofu.read_bytes()).hexdigest()
    provider = made(cluster, runner, image.pinned)
    try:
        bench = Bench(provider, JobRoot(Path(INSIDE), "", {}), tmp_path, copies=True)
        bind = Bind(folder, SANDBOX_TOOL, contents={"tofu": digest})
        async with bench.running(PLANS, binds=(bind,), limits=SandboxLimits()) as run:
            try:
                said = await converse(run, {})
            except ChannelError as error:
                pytest.fail(f"{error}: {await run.wait()}")
            assert said["codes"] == [0, 0], said
            assert "1 to add" in said["said"]
            assert said["linked"] is has
            sent = provider._stages[run.id].host.sent_bytes
        assert (sent < 1 << 20) if has else (sent > size), f"{sent} bytes were sent; the tool has {size}"
        assert (await provider.release(bench.enclosure)).torn_down
    finally:
        await provider.close()
