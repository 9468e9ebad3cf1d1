"""What is no archive of a bundle is refused before anything in it is believed, and at a bounded cost."""

import gzip
import io
import tarfile
import tracemalloc

import pytest
from tests.unit.policy.bundles.bundling import tar

from lockgate.policy.bundles.archive import MAX_ARCHIVE_BYTES, MAX_FILES, MAX_UNPACKED_BYTES, pack, unpack
from lockgate.policy.port import PolicyLoadError

ONE = ({"name": "data.json"}, b"{}")


def refused(data: bytes) -> str:
    with pytest.raises(PolicyLoadError) as error:
        unpack(data, "release.tar.gz")
    assert str(error.value).startswith("release.tar.gz: ")
    return str(error.value)


def test_the_same_files_give_the_same_bytes_in_any_order() -> None:
    files = {"b": b"2", "a/c.rego": b"3", "a/b.rego": b"1"}
    assert pack(files) == pack(dict(reversed(files.items())))
    assert unpack(pack(files), "x") == files


def test_one_leading_slash_is_opas_own_way_to_write_the_bundles_root() -> None:
    assert unpack(tar(({"name": "/data.json"}, b"{}")), "x") == {"data.json": b"{}"}


@pytest.mark.parametrize(
    "name",
    ["../data.json", "a/../../data.json", "//data.json", "/../x", "./data.json", "a//b", "a/", "", "a\\b", "a\nb", "ä.rego",
     "C:/x", "x" * 256],
)  # fmt: skip
def test_a_path_that_leaves_the_bundle_or_could_be_read_in_two_ways_is_refused(name: str) -> None:
    assert "a path must stay below the bundle" in refused(tar(ONE, ({"name": name}, b"{}")))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_devices_and_folders_are_no_files_of_a_bundle(kind: bytes) -> None:
    text = refused(tar(ONE, ({"name": "x.rego", "type": kind, "linkname": "/etc/passwd", "size": 0}, b"")))
    assert text == "release.tar.gz: x.rego: is no regular file; a bundle holds nothing else"


def test_a_name_that_stands_twice_is_refused_also_when_one_has_opas_slash() -> None:
    for other in ("data.json", "/data.json"):
        text = refused(tar(ONE, ({"name": other}, b"[]")))
        assert text == "release.tar.gz: data.json: stands twice in the archive"


def test_a_gigabyte_that_is_only_declared_is_refused() -> None:
    header = tarfile.TarInfo("data.json")
    header.size = 1 << 30
    text = refused(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + b"{}"))
    assert "data.json: says to be 1073741824 bytes" in text


@pytest.mark.slow
def test_a_gigabyte_that_gzip_hides_is_refused_without_unpacking_it() -> None:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as stream:
        for _ in range(1024):
            stream.write(bytes(1 << 20))
    bomb = buffer.getvalue()
    assert len(bomb) < MAX_ARCHIVE_BYTES
    tracemalloc.start()
    assert f"unpacks to more than {MAX_UNPACKED_BYTES} bytes" in refused(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * MAX_UNPACKED_BYTES


def test_an_archive_larger_than_is_read_is_refused_before_it_is_looked_at() -> None:
    assert "is larger than" in refused(bytes(MAX_ARCHIVE_BYTES + 1))


def test_too_many_files_are_refused() -> None:
    assert f"holds more than {MAX_FILES} files" in refused(
        tar(*(({"name": f"f{i}.rego"}, b"") for i in range(MAX_FILES + 1)))
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"garbage", "is no gzip archive"),
        (gzip.compress(b"garbage" * 200), "is no tar archive"),
        (tar(), "is empty: there is no file in it"),
        (pack({"data.json": b"{}"})[:-9], "is cut short"),
        (pack({"data.json": b"{}"}) + b"more", "goes on after the end"),
        (pack({"data.json": b"{}"}) + pack({"x.rego": b""}), "goes on after the end"),
        (tar(({"name": "\udcff.rego"}, b"")), "is no tar archive"),
    ],
)
def test_garbage_is_refused_and_said_to_be(data: bytes, said: str) -> None:
    assert said in refused(data)


def test_a_file_that_the_archive_ends_within_is_refused() -> None:
    whole = gzip.decompress(pack({"data.json": b"x" * 4000}))
    assert "release.tar.gz: " in refused(gzip.compress(whole[:2000]))


def test_a_path_as_long_as_is_read_can_be_packed_again() -> None:
    files = {f"lockgate/{'a' * 200}.rego": b"package a"}
    assert unpack(pack(files), "b") == files
