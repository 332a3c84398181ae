"""Opening sessions without a camera, and drawing in them: every status, over real HTTP."""

from __future__ import annotations

import asyncio
import io
import threading
import zlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from streaming import sessions_api
from streaming.picture import decode_picture
from streaming.server import make_app
from tests.streaming.fakes import FakeHub
from tests.streaming.test_http import problem
from tests.webrtc import Server, eventually, serve

PNG = {"Content-Type": "image/png"}


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
async def server(hub: FakeHub) -> AsyncIterator[Server]:
    async with serve(make_app(hub)) as server:
        yield server


def encoded(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    picture.save(data, format, **options)
    return data.getvalue()


def square(colour: str | tuple[int, ...] = "black", mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new(mode, size, colour)


@pytest.mark.parametrize("mode", ["draw", "imagine"])
async def test_a_session_without_a_camera_is_opened_and_ended(server: Server, hub: FakeHub, mode: str) -> None:
    asked = {"mode": mode, "name": "me", "settings": {"prompt": "ink"}}
    async with server.http.post(f"{server.url}/api/sessions", json=asked) as response:
        assert response.status == 201
        assert response.headers["Location"] == "/api/sessions/me"
        assert await response.json() == {"name": "me", "mode": mode, "frames_in": 0, "viewers": 0}
        where = response.headers["Location"]
    assert hub.live["me"].settings()["prompt"] == "ink"
    async with server.http.delete(server.url + where) as response:
        assert response.status == 204
    assert not hub.live


async def test_a_fresh_name_is_given_where_none_is_asked_for(server: Server, hub: FakeHub) -> None:
    for asked in ({"mode": "imagine"}, {"mode": "imagine", "name": None, "settings": None}):
        async with server.http.post(f"{server.url}/api/sessions", json=asked) as response:
            name = (await response.json())["name"]
            assert response.headers["Location"] == f"/api/sessions/{name}"
    assert len(hub.live) == 2


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ([], "JSON object"),
        ("imagine", "JSON object"),
        ({}, "'draw' or 'imagine'"),
        ({"mode": "paint"}, "'draw' or 'imagine'"),
        ({"mode": ["draw"]}, "'draw' or 'imagine'"),
        ({"mode": "camera"}, "/whip"),
        ({"mode": "draw", "name": 7}, "name must be a string"),
        ({"mode": "draw", "prompt": "ink"}, "no field 'prompt'"),
        ({"mode": "draw", "settings": [1]}, "an object"),
        ({"mode": "draw", "settings": {"nothing": 1}}, "no setting 'nothing'"),
    ],
)
async def test_what_cannot_be_opened_is_400_and_opens_nothing(
    server: Server, hub: FakeHub, asked: object, says: str
) -> None:
    async with server.http.post(f"{server.url}/api/sessions", json=asked) as response:
        assert says in await problem(response, 400)
    assert not hub.live


async def test_other_refusals_to_open(server: Server, hub: FakeHub) -> None:
    url = f"{server.url}/api/sessions"
    async with server.http.post(url, data=b"{", headers={"Content-Type": "application/json"}) as response:
        await problem(response, 400)
    async with server.http.post(url, data=b"{}", headers={"Content-Type": "text/plain"}) as response:
        assert "application/json" in await problem(response, 415)
    async with server.http.post(url, json={"mode": "draw", "name": "x" * 2_000_000}) as response:
        await problem(response, 413)
    hub.open("me")
    async with server.http.post(url, json={"mode": "draw", "name": "me"}) as response:
        assert "'me'" in await problem(response, 409)
    hub.places = 1
    async with server.http.post(url, json={"mode": "draw"}) as response:
        assert "places" in await problem(response, 503)
        assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
async def test_a_drawing_arrives_as_rgb(server: Server, hub: FakeHub, format: str) -> None:
    session = hub.open("me", mode="draw")
    body = encoded(square((200, 100, 50)), format)
    headers = {"Content-Type": f"image/{format.lower()}"}
    for count in (1, 2):
        async with server.http.put(f"{server.url}/api/sessions/me/drawing", data=body, headers=headers) as response:
            assert (response.status, await response.json()) == (200, {"id": count})
    assert [drawing.shape for drawing in session.drawings] == [(30, 40, 3)] * 2
    assert np.abs(session.drawings[0][15, 20].astype(int) - [200, 100, 50]).max() < 6


def _palette() -> Image.Image:
    picture = square(0, "P")
    picture.info["transparency"] = 0
    return picture


def _deep() -> Image.Image:
    return Image.fromarray(np.full((30, 40), 128 << 8, np.uint16))


@pytest.mark.parametrize(
    ("picture", "shade"),
    [
        (square((0, 0, 0, 0), "RGBA"), 255),
        (square((0, 0, 0, 255), "RGBA"), 0),
        (square((0, 0), "LA"), 255),
        (_palette(), 255),
        (square(0, "L"), 0),
        (square(1, "1"), 255),
        (_deep(), 128),
    ],
)
async def test_paper_that_shows_through_is_white(
    server: Server, hub: FakeHub, picture: Image.Image, shade: int
) -> None:
    """A canvas without a background saves transparent black, which would be a black sheet."""
    session = hub.open("me", mode="draw")
    async with server.http.put(f"{server.url}/api/sessions/me/drawing", data=encoded(picture), headers=PNG) as response:
        assert response.status == 200
    assert np.unique(session.drawings[0]).tolist() == [shade]


async def test_a_photograph_of_a_drawing_is_turned_the_right_way_up(server: Server, hub: FakeHub) -> None:
    session = hub.open("me", mode="draw")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90°
    body = encoded(square(), "JPEG", exif=exif)
    async with server.http.put(
        f"{server.url}/api/sessions/me/drawing", data=body, headers={"Content-Type": "image/jpeg"}
    ) as response:
        assert response.status == 200
    assert session.drawings[0].shape == (40, 30, 3)


def _claims_to_be_huge() -> bytes:
    """A PNG of a hundred bytes whose header says 60000×60000."""
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    good = encoded(square())
    return good[:12] + header + zlib.crc32(header).to_bytes(4, "big") + good[33:]


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (encoded(square()), {"Content-Type": "image/gif"}, 415, "image/png, image/webp, image/jpeg"),
        (encoded(square()), {"Content-Type": "application/json"}, 415, "image/png"),
        (b"", PNG, 400, "no PNG picture"),
        (b"hello", PNG, 400, "no PNG picture"),
        (encoded(square(), "JPEG"), PNG, 400, "no PNG picture"),
        (encoded(square(), "TIFF"), PNG, 400, "no PNG picture"),
        (encoded(Image.effect_noise((64, 64), 90))[:-900], PNG, 400, "cut short"),
        (_claims_to_be_huge(), PNG, 400, "picture"),
        (encoded(square("white", "L", (5000, 5000))), PNG, 400, "5000×5000"),
        (b"\x89PNG" + bytes(5 << 20), PNG, 413, "4 MB"),
    ],
)
async def test_what_is_no_drawing_is_refused_and_changes_nothing(
    server: Server, hub: FakeHub, body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    session = hub.open("me", mode="draw")
    async with server.http.put(f"{server.url}/api/sessions/me/drawing", data=body, headers=headers) as response:
        assert says in await problem(response, status)
    assert not session.drawings


async def test_a_body_that_hides_its_length_is_cut_off_too(server: Server, hub: FakeHub) -> None:
    hub.open("me", mode="draw")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(1 << 16)

    async with server.http.put(f"{server.url}/api/sessions/me/drawing", data=endless(), headers=PNG) as response:
        assert "4 MB" in await problem(response, 413)


async def test_a_drawing_of_three_megabytes_is_taken_though_other_bodies_end_at_one(
    server: Server, hub: FakeHub
) -> None:
    session = hub.open("me", mode="draw")
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
    body = encoded(Image.fromarray(noise))
    assert 2 << 20 < len(body) < 4 << 20
    async with server.http.put(f"{server.url}/api/sessions/me/drawing", data=body, headers=PNG) as response:
        assert response.status == 200
    assert np.array_equal(session.drawings[0], noise)


async def test_where_there_is_a_camera_or_no_session(server: Server, hub: FakeHub) -> None:
    hub.open("me")
    async with server.http.put(
        f"{server.url}/api/sessions/me/drawing", data=encoded(square()), headers=PNG
    ) as response:
        assert "camera" in await problem(response, 409)
    async with server.http.put(
        f"{server.url}/api/sessions/nobody/drawing", data=encoded(square()), headers=PNG
    ) as response:
        await problem(response, 404)
    async with server.http.get(f"{server.url}/api/sessions/me/drawing") as response:
        assert "PUT" in await problem(response, 405)


async def test_the_drawing_that_came_last_is_the_last_one_drawn(
    server: Server, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first takes long to decode; those that come meanwhile don't overtake it."""
    session = hub.open("me", mode="draw")
    decoding, go_on = threading.Event(), threading.Event()

    def dawdle(data: bytes, **options: Any) -> np.ndarray:
        picture = decode_picture(data, **options)
        if picture.shape[0] == 100:
            decoding.set()
            assert go_on.wait(20)
        return picture

    monkeypatch.setattr(sessions_api, "decode_picture", dawdle)

    async def put(height: int) -> int:
        url, body = f"{server.url}/api/sessions/me/drawing", encoded(square(size=(40, height)))
        async with server.http.put(url, data=body, headers=PNG) as response:
            return int((await response.json())["id"])

    first = asyncio.ensure_future(put(100))
    await eventually(decoding.is_set, "the first is being decoded")
    other = asyncio.ensure_future(put(30))
    async with server.http.get(f"{server.url}/api/sessions/me") as response:  # the loop is free meanwhile
        assert response.status == 200
    go_on.set()
    assert [await first, await other] == [1, 2]
    assert [drawing.shape[0] for drawing in session.drawings] == [100, 30]


async def test_the_api_may_be_used_by_another_page_that_is_allowed(hub: FakeHub) -> None:
    async with serve(make_app(hub, allow_origins=["https://a.example"])) as server:
        ask = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}
        async with server.http.options(f"{server.url}/api/sessions/me/drawing", headers=ask) as response:
            assert "PUT" in response.headers["Access-Control-Allow-Methods"]
        async with server.http.options(f"{server.url}/api/sessions", headers=ask) as response:
            assert "POST" in response.headers["Access-Control-Allow-Methods"]


async def test_the_token_guards_them(hub: FakeHub) -> None:
    async with serve(make_app(hub, token="s3cret")) as server:
        async with server.http.post(f"{server.url}/api/sessions", json={"mode": "draw"}) as response:
            await problem(response, 401)
        async with server.http.put(f"{server.url}/api/sessions/me/drawing", data=b"", headers=PNG) as response:
            await problem(response, 401)
