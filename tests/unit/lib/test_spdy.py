"""SPDY between two sessions of our own, in any slicing; frames a hostile peer may send."""

from __future__ import annotations

import asyncio
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.lib import spdy


class Pair:
    """A client and a server; bytes wait in ``wires`` until ``move`` carries them."""

    def __init__(self) -> None:
        self.to_server, self.to_client = bytearray(), bytearray()

        async def drain() -> None:
            return None

        self.client = spdy.Session(self.to_server.extend, drain, client=True)
        self.server = spdy.Session(self.to_client.extend, drain)

    def move(self, slices: int = 1 << 20) -> None:
        while self.to_server or self.to_client:
            for wire, session in ((self.to_server, self.server), (self.to_client, self.client)):
                data = bytes(wire[:slices])
                del wire[:slices]
                if data:
                    session.feed(data)


def test_the_dictionary_is_the_protocols() -> None:
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


@given(st.lists(st.dictionaries(st.text("abcdefghij-", min_size=1), st.text(), max_size=5), min_size=1, max_size=5), st.integers(1, 40))
def test_streams_arrive_in_any_slicing(headers: list[dict[str, str]], slices: int) -> None:
    async def go() -> None:
        pair = Pair()
        for one in headers:
            pair.client.open(one)
        pair.move(slices)
        for number, one in enumerate(headers):
            stream = await pair.server.accept()
            assert stream is not None
            assert (stream.id, stream.headers) == (2 * number + 1, one)

    asyncio.run(go())


@given(st.lists(st.binary(max_size=100_000), max_size=4), st.integers(100, 70_000))
def test_data_both_ways(chunks: list[bytes], slices: int) -> None:
    async def go() -> None:
        pair = Pair()
        ours = pair.client.open({"streamType": "data"})
        for chunk in chunks:
            await ours.write(chunk)
        ours.close()
        pair.move(slices)
        theirs = await pair.server.accept()
        assert theirs is not None
        received = b""
        while data := await theirs.read():
            received += data
            await theirs.write(data)
        theirs.close()
        assert received == b"".join(chunks)
        pair.move(slices)
        back = b""
        while data := await ours.read():
            back += data
        assert back == received
        assert not pair.client.streams
        assert not pair.server.streams

    asyncio.run(go())


async def test_a_window_that_is_kept_is_obeyed() -> None:
    pair = Pair()
    ours = pair.client.open({})
    pair.move()
    theirs = await pair.server.accept()
    assert theirs is not None
    pair.client.feed(struct.pack(">HHIIII", spdy.VERSION, spdy.SETTINGS, 12, 1, spdy._SETTING_INITIAL_WINDOW, 1000))
    write = asyncio.create_task(ours.write(b"x" * 2500))
    await asyncio.sleep(0)
    pair.move()
    assert not write.done()
    received = 0
    while received < 2500:
        received += len(await theirs.read())
        pair.move()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pair.move()
    await write


async def test_reset_and_loss_wake_readers() -> None:
    pair = Pair()
    one, two = pair.client.open({}), pair.client.open({})
    pair.move()
    theirs = await pair.server.accept()
    assert theirs is not None
    reader = asyncio.create_task(theirs.read())
    await asyncio.sleep(0)
    one.reset()
    pair.move()
    with pytest.raises(spdy.StreamReset):
        await reader
    pair.client.connection_lost()
    with pytest.raises(spdy.StreamReset):
        await two.read()
    assert await pair.client.accept() is None


async def test_ping_is_answered() -> None:
    pair = Pair()
    ping = struct.pack(">HHII", spdy.VERSION, spdy.PING, 4, 1)
    pair.server.feed(ping)
    assert bytes(pair.to_client) == ping


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">HHI", 0x8002, 1, 0),
        struct.pack(">HHI", spdy.VERSION, spdy.SYN_STREAM, 3) + b"abc",
        struct.pack(">HHI", spdy.VERSION, spdy.SYN_STREAM, 14) + struct.pack(">IIHI", 1, 0, 0, 12345),
        struct.pack(">HHI", spdy.VERSION, spdy.RST_STREAM, 4) + b"abcd",
        struct.pack(">II", 1, 0xFFFFFF),
        struct.pack(">HHI", spdy.VERSION, spdy.SYN_STREAM, 10) + struct.pack(">IIH", 2, 0, 0),
    ],
)
async def test_broken_frames(frame: bytes) -> None:
    with pytest.raises(spdy.SpdyError):
        Pair().server.feed(frame)


async def test_a_header_bomb_is_refused() -> None:
    deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
    block = deflate.compress(b"\0" * (10 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    frame = struct.pack(">HHI", spdy.VERSION, spdy.SYN_STREAM, 10 + len(block)) + struct.pack(">IIH", 1, 0, 0) + block
    with pytest.raises(spdy.SpdyError):
        Pair().server.feed(frame)


@given(st.binary(max_size=300))
def test_noise_never_does_more_than_fail(noise: bytes) -> None:
    try:
        Pair().server.feed(noise)
    except spdy.SpdyError:
        pass
