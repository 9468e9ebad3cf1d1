"""Plan files as hostile bytes: what is no plan, was packed by others, or holds more than it may is refused; no engine needed."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.job.opentofu import repack

from lockgate.contract.jobchannel import MAX_PLAN_FILE_BYTES
from lockgate.contract.state import StateMark
from lockgate.job.drivers.opentofu import planfile
from lockgate.job.drivers.opentofu.encoded import Malformed, fields, unpack
from lockgate.job.drivers.opentofu.lockfile import Locked
from lockgate.job.drivers.opentofu.planfile import read_plan_file
from lockgate.job.drivers.port import StageRefused

LOCK = '# made by hand\n\nprovider "registry.terraform.io/hashicorp/local" {\n  version     = "2.5.0"\n  constraints = ">= 2.0.0"\n  hashes = [\n    "h1:vH9BAynJs2owccY2cKP1yfNwbogjJzyGAG3K6ZL52Ks=",\n  ]\n}\n'


def field(number: int, content: bytes) -> bytes:
    assert number < 16
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


CONFIG = b"\x82\xa4path\xbd../../state/terraform.tfstate\xadworkspace_dir\xc0"
BACKEND = field(1, b"local") + field(2, field(1, CONFIG)) + field(3, b"default")
TFPLAN = b"\x08\x03" + field(13, BACKEND) + field(14, b"1.11.4")
STATE = json.dumps({"version": 4, "serial": 7, "lineage": "abc"}).encode()
MEMBERS = {
    "tfplan": TFPLAN,
    "tfstate": STATE,
    "tfstate-prev": STATE,
    "tfconfig/m-/main.tf": b"# nothing\n",
    "tfconfig/m-a.b/x.tf": b"# deeper\n",
    "tfconfig/modules.json": b'[{"Key": "", "Dir": "."}, {"Key": "a.b", "Source": "./x", "Dir": "a/x"}]',
    ".terraform.lock.hcl": LOCK.encode(),
}


def read(tmp_path, data: bytes):
    path = tmp_path / "plan"
    path.write_bytes(data)
    return read_plan_file(path)


def test_a_plan_file_is_read_as_the_engine_packed_it(tmp_path):
    plan = read(tmp_path, repack.pack(MEMBERS.items()))
    assert plan.engine_version == "1.11.4"
    assert plan.backend == planfile.Backend(
        "local", {"path": "../../state/terraform.tfstate", "workspace_dir": None}, "default"
    )
    assert plan.state == StateMark("abc", 7)
    assert plan.providers == (
        Locked("registry.terraform.io/hashicorp/local", "2.5.0", ("h1:vH9BAynJs2owccY2cKP1yfNwbogjJzyGAG3K6ZL52Ks=",)),
    )
    assert plan.modules == {"": ".", "a.b": "a/x"}
    assert plan.files == {"": {"main.tf": b"# nothing\n"}, "a.b": {"x.tf": b"# deeper\n"}}


def test_a_state_that_was_never_written_has_no_mark(tmp_path):
    never = {**MEMBERS, "tfstate": b'{"version": 4, "serial": 0, "lineage": ""}'}
    assert read(tmp_path, repack.pack(never.items())).state is None


def plainly(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """As an ordinary zip program packs."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return sink.getvalue()


WHOLE = repack.pack(MEMBERS.items())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no plan file"),
        (b"{}", "encryption"),
        (b"\x7fELF", "no plan file"),
        (WHOLE[:-1], "cut off"),
        (WHOLE[: len(WHOLE) // 2], "cut off"),
        (WHOLE + b"x", "cut off"),
        (WHOLE + WHOLE, "not laid out"),
        (b"#!/bin/sh\n" + WHOLE, "no plan file"),
        (plainly(MEMBERS), "packed by another program"),
        (plainly(MEMBERS, zipfile.ZIP_STORED), "packed by another program"),
        (repack.pack([*MEMBERS.items(), ("tfplan", TFPLAN)]), "'tfplan' twice"),
        (repack.pack([*MEMBERS.items(), ("../../etc/passwd", b"x")]), "nothing that belongs"),
        (repack.pack([*MEMBERS.items(), ("tfconfig/m-/../../x.tf", b"x")]), "nothing that belongs"),
        (repack.pack([*MEMBERS.items(), ("tfconfig/m-a/..", b"x")]), "nothing that belongs"),
        (repack.pack([*MEMBERS.items(), ("tfconfig/m-a\\b/x.tf", b"x")]), "nothing that belongs"),
        (repack.pack([*MEMBERS.items(), ("/tfplan", b"x")]), "nothing that belongs"),
        (repack.pack([*MEMBERS.items(), ("more", b"x")]), "nothing that belongs"),
        (repack.pack([*MEMBERS.items(), ("tfconfig/m-/bomb.tf", b"\0" * (65 << 20))]), "unpacked it is larger than 64 MiB"),
        (repack.pack([*MEMBERS.items(), *((f"tfconfig/m-/{n}.tf", b"") for n in range(5_000))]), "not laid out"),
        (b"PK\x03\x04" + b"\0" * MAX_PLAN_FILE_BYTES, "larger than 8 MiB"),
        *((repack.pack((name, content) for name, content in MEMBERS.items() if name != gone), f"it has no {gone}")
          for gone in MEMBERS if not gone.startswith("tfconfig/m-")),
    ],
)  # fmt: skip
def test_bytes_that_no_engine_wrote_are_refused_with_the_reason(tmp_path, data, said):
    with pytest.raises(StageRefused, match=r"^plan: ") as refused:
        read(tmp_path, data)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tfplan", b"", "field 14 must be there once"),
        ("tfplan", TFPLAN + field(13, BACKEND), "field 13 must be there once"),
        ("tfplan", TFPLAN + field(14, b"9.9.9"), "field 14 must be there once"),
        ("tfplan", TFPLAN[:-1], "runs past the end"),
        ("tfplan", TFPLAN + b"\x0b", "wire type 3"),
        ("tfplan", field(14, b"1") + field(13, field(1, b"local") + field(2, field(1, b"\xc0")) + field(3, b"")), "no map"),
        ("tfplan", field(14, b"1") + field(13, field(1, b"local") + field(2, field(1, b"\xd4\0\0")) + field(3, b"")), "0xd4"),
        ("tfstate", b"[]", "prior state cannot be read"),
        ("tfstate", b'{"serial": 1}', "prior state cannot be read"),
        ("tfstate", b'{"serial": -1, "lineage": "x"}', "serial must be"),
        ("tfstate", b'{"serial": 1, "lineage": "\\u0000"}', "lineage must be"),
        ("tfconfig/modules.json", b"{}", "list of modules"),
        ("tfconfig/modules.json", b'[{"Key": "a", "Dir": "."}]', "list of modules"),
        ("tfconfig/modules.json", b'[{"Key": "", "Dir": "."}, {"Key": "", "Dir": "x"}]', "list of modules"),
        (".terraform.lock.hcl", b'provider "x" {}\n', "version and hashes"),
        (".terraform.lock.hcl", LOCK.encode() + LOCK.encode(), "twice"),
        (".terraform.lock.hcl", LOCK.replace("2.5.0", "${file(\\\"/etc/passwd\\\")}").encode(), "version and hashes"),
        (".terraform.lock.hcl", LOCK.replace("registry", "../registry").encode(), "version and hashes"),
        (".terraform.lock.hcl", b"\xff", "ASCII"),
        (".terraform.lock.hcl", b"#" * (2 << 20), "larger than"),
    ],
)  # fmt: skip
def test_members_that_do_not_say_what_they_must_are_refused(tmp_path, name, content, said):
    with pytest.raises(StageRefused, match=r"^plan: ") as refused:
        read(tmp_path, repack.pack({**MEMBERS, name: content}.items()))
    assert said in str(refused.value)


@given(st.binary(max_size=300), st.integers(0, len(WHOLE) - 1))
def test_no_change_of_bytes_makes_a_reader_fail_otherwise_than_by_refusing(tmp_path_factory, noise, at):
    path = tmp_path_factory.mktemp("noise") / "plan"
    path.write_bytes(WHOLE[:at] + noise + WHOLE[at + len(noise) :])
    try:
        read_plan_file(path)
    except StageRefused as refused:
        assert str(refused).startswith("plan: ")


@given(st.binary(max_size=200))
def test_the_encodings_are_read_or_refused(data):
    for reader in (lambda: list(fields(data)), lambda: unpack(data)):
        try:
            reader()
        except Malformed:
            continue


@pytest.mark.parametrize(
    ("packed", "value"),
    [
        (b"\x00", 0), (b"\xff", -1), (b"\xc0", None), (b"\xc3", True), (b"\xcd\x01\x00", 256), (b"\xd1\xff\x00", -256),
        (b"\xcb\x3f\xf8\0\0\0\0\0\0", 1.5), (b"\xd9\x01x", "x"), (b"\xc4\x01\xff", b"\xff"), (b"\x92\x01\x90", [1, []]),
        (b"\xde\x00\x01\xa1a\x80", {"a": {}}), (b"\xb1" + b"y" * 17, "y" * 17),
    ],
)  # fmt: skip
def test_messagepack_values_are_read(packed, value):
    assert unpack(packed) == value


@pytest.mark.parametrize("packed", [b"", b"\xa5ab", b"\x81\x01\x02", b"\x82\xa1a\0\xa1a\0", b"\xdd\xff\xff\xff\xff", b"\0\0", b"\x91" * 40 + b"\0", b"\xa1\xff"])  # fmt: skip
def test_messagepack_that_is_cut_repeats_keys_or_lies_about_sizes_is_malformed(packed):
    with pytest.raises(Malformed):
        unpack(packed)
