"""A bundle server is believed to bring bytes and nothing more: each of its faults is named, bounded, and over at the next look."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.bundleserver import Authority, BundleServer, bundle_server, response
from tests.looptime import PassBy, comes_about, pass_by, turns

from lockgate.policy.bundles.archive import MAX_ARCHIVE_BYTES, pack
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.sources.http import BundleServer as Server
from lockgate.policy.sources.http import HttpSource
from lockgate.policy.sources.port import SourceUnavailable

__all__ = ["pass_by"]
ONE, TWO = pack({"data.json": b"1"}), pack({"data.json": b"2"})


@pytest.fixture
async def server() -> AsyncIterator[BundleServer]:
    async with bundle_server() as made:
        yield made


async def brought(source: HttpSource) -> bytes | None:
    fetched = await source.look()
    return None if fetched is None else fetched.files["data.json"]


async def unavailable(source: HttpSource) -> str:
    with pytest.raises(SourceUnavailable) as error:
        await source.look()
    assert str(error.value).startswith(source.name + ": ")
    return str(error.value)


async def test_a_bundle_is_brought_once_per_version(server: BundleServer) -> None:
    source = HttpSource(Server(server.url()))
    server.serve(ONE, '"v1"')
    assert await brought(source) == b"1"
    assert "if-none-match" not in server.requests[-1]
    server.answer = response(304, etag='"v1"')
    assert await brought(source) is None
    assert 'if-none-match: "v1"\r\n' in server.requests[-1]
    server.serve(TWO, '"v2"')
    assert await brought(source) == b"2"
    source.forget()
    assert await brought(source) == b"2"
    assert "if-none-match" not in server.requests[-1]


async def test_a_wrong_etag_neither_hides_nor_repeats_a_bundle(server: BundleServer) -> None:
    source = HttpSource(Server(server.url()))
    server.serve(ONE, '"v1"')
    assert await brought(source) == b"1"
    server.serve(ONE, '"v2"')
    assert await brought(source) is None, "another tag for the same bytes"
    server.serve(TWO, '"v2"')
    assert await brought(source) == b"2", "the same tag for other bytes"
    for tag in ("x" * 5000, "é", None):
        server.serve(ONE, tag)
        source.forget()
        assert await brought(source) == b"1"
        assert await brought(source) is None
        assert "if-none-match" not in server.requests[-1]


async def test_not_modified_without_having_been_asked_is_no_answer(server: BundleServer) -> None:
    server.answer = response(304, etag='"v1"')
    assert "says 304 to a question that named no version" in await unavailable(HttpSource(Server(server.url())))


@pytest.mark.parametrize("status", [201, 400, 401, 404, 500, 503])
async def test_a_status_that_is_not_200_is_told(server: BundleServer, status: int) -> None:
    server.answer = response(status, ONE)
    assert f"answers {status}" in await unavailable(HttpSource(Server(server.url())))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(server: BundleServer, status: int) -> None:
    async with bundle_server() as elsewhere:
        elsewhere.serve(ONE)
        server.answer = response(status, location=elsewhere.url())
        assert "a redirect is not followed" in await unavailable(HttpSource(Server(server.url())))
        assert elsewhere.requests == []


async def test_a_server_that_drips_is_left_at_the_deadline(server: BundleServer, pass_by: PassBy) -> None:
    """Each byte comes in time; all of them do not."""
    for head in (b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"):
        left = asyncio.Event()

        async def drip(writer: asyncio.StreamWriter, head: bytes = head, left: asyncio.Event = left) -> None:
            writer.write(head)
            try:
                while True:
                    writer.write(b"H")
                    await writer.drain()
                    await asyncio.sleep(0)
                    pass_by(1)
            finally:
                left.set()

        server.answer = drip
        assert "did not answer within 30 s" in await unavailable(HttpSource(Server(server.url(), deadline=30)))
        async with comes_about("the server is left"):
            await left.wait()


async def test_a_server_that_says_nothing_is_left_at_the_deadline(server: BundleServer, pass_by: PassBy) -> None:
    async def nothing(writer: asyncio.StreamWriter) -> None:
        pass_by(31)
        await turns()

    server.answer = nothing
    assert "did not answer within 30 s" in await unavailable(HttpSource(Server(server.url(), deadline=30)))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "ended before the answer was whole"),
        (response(200, ONE)[:-10], "ended before the answer was whole"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + ONE, "ended before the answer was whole"),
        (b"nonsense\r\n\r\n", "is not HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "interim"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * (1 << 20), "head is larger than"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nab", "is not HTTP"),
    ],
)
async def test_an_answer_that_is_not_whole_is_none(server: BundleServer, answer: bytes, said: str) -> None:
    server.answer = answer
    assert said in await unavailable(HttpSource(Server(server.url())))


async def test_a_gigabyte_is_not_read_to_its_end(server: BundleServer) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")
        while sent < 1 << 30:
            writer.write(bytes(1 << 20))
            await writer.drain()
            sent += 1 << 20

    server.answer = endless
    assert f"larger than {MAX_ARCHIVE_BYTES} bytes" in await unavailable(HttpSource(Server(server.url(), deadline=60)))
    assert sent < 1 << 28


async def test_what_is_no_bundle_says_so_and_is_not_asked_for_again(server: BundleServer) -> None:
    source = HttpSource(Server(server.url()))
    server.serve(b"garbage", '"v1"')
    with pytest.raises(PolicyLoadError, match="is no gzip archive"):
        await source.look()
    server.answer = response(304)
    assert await brought(source) is None


async def test_a_server_that_is_not_there_is_told_and_found_again(server: BundleServer) -> None:
    server.serve(ONE)
    async with bundle_server() as gone:
        source = HttpSource(Server(gone.url()))
    assert "cannot be reached: ConnectionRefusedError" in await unavailable(source)


async def test_a_token_is_sent_and_never_shown(server: BundleServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret-token\n")
    token.chmod(0o600)
    source = HttpSource(Server(server.url() + "?sig=s3cret-query", token_file=token))
    server.serve(ONE)
    assert await brought(source) == b"1"
    assert "authorization: Bearer s3cret-token\r\n" in server.requests[-1]
    token.write_text("another\n")
    server.answer = response(401)
    assert "s3cret" not in await unavailable(source)
    assert "authorization: Bearer another\r\n" in server.requests[-1], "it is read again at each look"
    token.write_text("two words\r\nx: y")
    assert "must hold one bearer token" in await unavailable(source)
    token.chmod(0o644)
    assert "chmod 600" in await unavailable(source)
    assert len(server.requests) == 2


async def test_only_a_server_of_the_pinned_authority_is_asked(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    pinned, other = ours.make(), theirs.make()
    async with bundle_server(ours.server("one")) as good, bundle_server(theirs.server("two")) as impostor:
        for made in (good, impostor):
            made.serve(ONE)
        assert await brought(HttpSource(Server(good.url("https"), ca=pinned))) == b"1"
        for source in (
            HttpSource(Server(impostor.url("https"), ca=pinned)),
            HttpSource(Server(good.url("https"), ca=other)),
            HttpSource(Server(good.url("https"))),
        ):
            assert "the TLS connection was refused" in await unavailable(source)
        assert impostor.requests == []
        with_name = good.url("https").replace("127.0.0.1", "localhost")
        assert "the TLS connection was refused" in await unavailable(HttpSource(Server(with_name, ca=pinned)))


async def test_a_client_certificate_is_shown_where_one_is_given(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ca = authority.make()
    certificate, key = authority.leaf("gateway")
    async with bundle_server(authority.server("server", clients=ca)) as server:
        server.serve(ONE)
        assert await brought(HttpSource(Server(server.url("https"), ca=ca, certificate=certificate, key=key))) == b"1"
        assert await unavailable(HttpSource(Server(server.url("https"), ca=ca)))
        key.chmod(0o644)
        shown = HttpSource(Server(server.url("https"), ca=ca, certificate=certificate, key=key))
        assert "chmod 600" in await unavailable(shown)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "https://", "https://u:p@a/b", "https://a/b#c", "https://a/b c", "b.tar.gz"]
)
def test_what_is_no_url_of_a_bundle_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        HttpSource(Server(url))
