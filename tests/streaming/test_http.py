"""Every status of WHIP, WHEP and the API, each with one clear sentence, and the page's files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from aiortc import RTCSessionDescription
from yarl import URL

from streaming.server import make_app
from tests.streaming.fakes import FakeHub
from tests.webrtc import Client, MovingPicture, Publisher, Server, Viewer, make_offer, new_connection, serve

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def hub() -> FakeHub:
    hub = FakeHub()
    return hub


@pytest.fixture
async def server(hub: FakeHub) -> AsyncIterator[Server]:
    async with serve(make_app(hub)) as server:
        yield server


async def offer(direction: str = "sendonly") -> str:
    connection = new_connection()
    connection.addTransceiver("video", direction=direction)
    text = await make_offer(connection)
    await connection.close()
    return text


async def problem(response: ClientResponse, status: int) -> str:
    """Check an error answer; its detail."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    detail = body["detail"]
    assert detail[0].isupper() or not detail[0].isalpha()
    assert detail.endswith(".")
    assert "Traceback" not in detail
    return str(detail)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"hello", "v=0"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"v=0\r\nm=video garbage\r\n", "parsed"),
        (b"v=0\r\n", "no video section"),
        (b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", "no video section"),
    ],
)
async def test_an_unusable_offer_is_400(server: Server, hub: FakeHub, body: bytes, says: str) -> None:
    async with server.http.post(f"{server.url}/whip", data=body, headers=SDP) as response:
        assert says in await problem(response, 400)
    assert not hub.live
    assert not hub.ended


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a=ice-ufrag", "ICE credentials"),
        ("a=fingerprint", "fingerprint"),
        ("a=setup", "fingerprint"),
        ("a=rtcp-mux", "rtcp-mux"),
        ("a=rtpmap", "codec"),
    ],
)
async def test_an_offer_that_lacks_a_line_is_400(server: Server, hub: FakeHub, line: str, says: str) -> None:
    lines = (await offer()).splitlines()
    dropped = [kept for kept in lines if not kept.startswith(line)]
    if line == "a=rtpmap":
        dropped = [kept for kept in dropped if not kept.startswith(("a=fmtp", "a=rtcp-fb"))]
    text = "\r\n".join(dropped) + "\r\n"
    async with server.http.post(f"{server.url}/whip", data=text, headers=SDP) as response:
        assert says in await problem(response, 400)
    assert not hub.live


async def test_an_offer_with_codecs_nobody_speaks_is_400_and_leaves_no_session(server: Server, hub: FakeHub) -> None:
    only_high = (await offer()).replace("42e01f", "640c1f").replace("42001f", "640c1f").replace("VP8", "VP9")
    async with server.http.post(f"{server.url}/whip", data=only_high, headers=SDP) as response:
        assert "packetization-mode=1" in await problem(response, 400)
    assert not hub.live


async def test_the_direction_must_fit(server: Server, hub: FakeHub) -> None:
    hub.open("me")
    async with server.http.post(f"{server.url}/whip", data=await offer("recvonly"), headers=SDP) as response:
        assert "recvonly" in await problem(response, 400)
    async with server.http.post(f"{server.url}/whep/me", data=await offer("sendonly"), headers=SDP) as response:
        assert "sendonly" in await problem(response, 400)


@pytest.mark.parametrize("path", ["/whip", "/whep/me"])
async def test_another_content_type_is_415(server: Server, hub: FakeHub, path: str) -> None:
    hub.open("me")
    async with server.http.post(
        server.url + path, data=await offer(), headers={"Content-Type": "text/plain"}
    ) as response:
        assert "application/sdp" in await problem(response, 415)


async def test_a_body_of_ten_megabytes_is_413(server: Server) -> None:
    async with server.http.post(f"{server.url}/whip", data=b"v=0\r\n" * 2_000_000, headers=SDP) as response:
        assert "1 MB" in await problem(response, 413)


@pytest.mark.parametrize("name", ["", "a b", "../x", "ä", "x" * 65])
async def test_a_name_that_cannot_be_one_is_400(server: Server, hub: FakeHub, name: str) -> None:
    async with server.http.post(
        f"{server.url}/whip", params={"session": name}, data=await offer(), headers=SDP
    ) as response:
        assert "64" in await problem(response, 400)
    assert not hub.live


async def test_a_name_that_is_live_is_409_and_the_live_one_goes_on(server: Server, hub: FakeHub) -> None:
    async with await Publisher.start(server, "me") as publisher:
        async with server.http.post(f"{server.url}/whip?session=me", data=await offer(), headers=SDP) as response:
            assert "me" in await problem(response, 409)
        assert list(hub.live) == ["me"]
        async with await Viewer.start(server, "me") as viewer:
            await viewer.see(5)
        assert publisher.connection.connectionState == "connected"


async def test_warming_up_and_no_place_are_503_with_retry_after(server: Server, hub: FakeHub) -> None:
    hub.waiting = "The model is being loaded."
    async with server.http.post(f"{server.url}/whip", data=await offer(), headers=SDP) as response:
        assert await problem(response, 503) == "The model is being loaded."
        assert int(response.headers["Retry-After"]) > 0
    async with server.http.get(f"{server.url}/healthz") as response:
        assert await problem(response, 503) == "The model is being loaded."
    hub.waiting = None
    async with server.http.get(f"{server.url}/healthz") as response:
        assert response.status == 200
    hub.places = 0
    async with server.http.post(f"{server.url}/whip", data=await offer(), headers=SDP) as response:
        assert "places" in await problem(response, 503)
        assert response.headers["Retry-After"] == "7"


async def test_what_is_not_there_is_404(server: Server) -> None:
    requests = [
        ("POST", "/whep/nobody", SDP, await offer("recvonly")),
        ("DELETE", "/whip/nobody", {}, ""),
        ("PATCH", "/whip/nobody", FRAGMENT, "a=end-of-candidates"),
        ("DELETE", "/whep/nobody/1", {}, ""),
        ("GET", "/api/sessions/nobody", {}, ""),
        ("GET", "/api/sessions/nobody/settings", {}, ""),
        ("PATCH", "/api/sessions/nobody/settings", JSON, "{}"),
        ("DELETE", "/api/sessions/nobody", {}, ""),
        ("GET", "/nowhere", {}, ""),
        ("GET", "/static/..%2Fserver.py", {}, ""),
        ("GET", "/static/nothing.js", {}, ""),
    ]
    for method, path, headers, body in requests:
        async with server.http.request(method, server.url + path, headers=headers, data=body or None) as response:
            await problem(response, 404)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/whip/me"), ("GET", "/whip"), ("PUT", "/whip/me"), ("POST", "/")]
)
async def test_a_method_that_is_not_taken_is_405(server: Server, method: str, path: str) -> None:
    async with server.http.request(method, server.url + path) as response:
        assert method in await problem(response, 405)
        assert response.headers["Allow"]


async def test_created_has_location_etag_and_an_answer(server: Server, hub: FakeHub) -> None:
    async with await Publisher.start(server, "me") as publisher, await Viewer.start(server, "me") as viewer:
        assert publisher.location == "/whip/me"
        assert viewer.location.startswith("/whep/me/")
        assert publisher.etag.startswith('"')
        assert publisher.etag != viewer.etag
        assert "x-google-start-bitrate=2500" in publisher.answer
        assert "x-google" not in viewer.answer
        assert publisher.answer.count("a=fmtp:") == publisher.answer.count("a=rtpmap:")
    assert not hub.live


async def test_delete_is_200_and_then_404(server: Server, hub: FakeHub) -> None:
    publisher = await Publisher.start(server, "me")
    viewer = await Viewer.start(server, "me")
    assert await viewer.delete() == 200
    assert await viewer.delete() == 404
    assert list(hub.live) == ["me"]
    assert await publisher.delete() == 200
    assert await publisher.delete() == 404
    assert hub.ended == [("me", "The publisher stopped.")]
    await asyncio.gather(publisher.close(), viewer.close())


async def test_patch_follows_rfc_9725(server: Server) -> None:
    async with await Publisher.start(server, "me") as publisher:
        url = server.url + publisher.location
        ufrag = next(line for line in publisher.connection.localDescription.sdp.splitlines() if "ice-ufrag" in line)
        candidate = "a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host"
        good = f"{ufrag}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n{candidate}\r\na=end-of-candidates\r\n"
        tag = {**FRAGMENT, "If-Match": publisher.etag}

        async def patch(body: str, headers: dict[str, str]) -> ClientResponse:
            async with server.http.patch(url, data=body, headers=headers) as response:
                await response.read()
                return response

        assert (await patch(good, tag)).status == 204
        await problem(await patch(good, FRAGMENT), 428)
        await problem(await patch(good, {**FRAGMENT, "If-Match": '"other"'}), 412)
        await problem(await patch(good, {**FRAGMENT, "If-Match": "*"}), 422)
        await problem(await patch(good.replace(ufrag, "a=ice-ufrag:else"), tag), 422)
        await problem(await patch(good, {**SDP, "If-Match": publisher.etag}), 415)
        await problem(await patch("", tag), 400)
        assert (await patch("a=candidate:nonsense\r\n", tag)).status == 204, "an unusable candidate is left out"
        assert publisher.connection.connectionState == "connected"


async def test_a_client_that_trickles_all_its_candidates_connects(server: Server, hub: FakeHub) -> None:
    client = Client(server, None, control=False)
    client.connection.addTransceiver(MovingPicture(), direction="sendonly")
    full = await make_offer(client.connection)
    kept = [line for line in full.splitlines() if not line.startswith(("a=candidate", "a=end-of-candidates"))]
    trickled = [line for line in full.splitlines() if line.startswith(("a=candidate", "a=ice-ufrag", "a=end-of"))]
    async with server.http.post(f"{server.url}/whip?session=t", data="\r\n".join(kept), headers=SDP) as response:
        assert response.status == 201, await response.text()
        etag, location, answer = response.headers["ETag"], response.headers["Location"], await response.text()
    headers = {**FRAGMENT, "If-Match": etag}
    async with server.http.patch(server.url + location, data="\r\n".join(trickled), headers=headers) as response:
        assert response.status == 204, await response.text()
    await client.connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    await client.connected()
    await client.connection.close()


async def test_options_tells_what_is_taken(server: Server) -> None:
    async with server.http.options(f"{server.url}/whip") as response:
        assert response.status == 204
        assert response.headers["Accept-Post"] == "application/sdp"
        assert "POST" in response.headers["Allow"]
    async with server.http.options(f"{server.url}/nowhere") as response:
        await problem(response, 404)


async def test_other_origins_may_ask_only_where_allowed(hub: FakeHub) -> None:
    ask = {"Origin": "https://a.example", "Access-Control-Request-Method": "PATCH"}
    async with serve(make_app(hub, allow_origins=["https://a.example"])) as server:
        async with server.http.options(f"{server.url}/api/sessions/me/settings", headers=ask) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"
            assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
            assert "If-Match" in response.headers["Access-Control-Allow-Headers"]
        async with server.http.get(f"{server.url}/api/sessions/nobody", headers=ask) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"
            assert "Location" in response.headers["Access-Control-Expose-Headers"]
        other = {**ask, "Origin": "https://b.example"}
        async with server.http.options(f"{server.url}/api/sessions/me/settings", headers=other) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_the_token_guards_everything_but_the_page(hub: FakeHub) -> None:
    async with serve(make_app(hub, token="s3cret")) as server:
        for path in ("/api/sessions", "/api/about", "/metrics", "/whip/x"):
            async with server.http.get(server.url + path) as response:
                assert "token" in await problem(response, 401)
                assert response.headers["WWW-Authenticate"] == "Bearer"
        for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
            async with server.http.get(f"{server.url}/api/sessions", headers=headers) as response:
                await problem(response, 401)
        async with server.http.post(f"{server.url}/whip", data=await offer(), headers=SDP) as response:
            await problem(response, 401)
        async with server.http.get(f"{server.url}/api/sessions?token=s3cret") as response:
            assert response.status == 200
        async with server.http.get(f"{server.url}/healthz") as response:
            assert response.status == 200
        # Another host name is fine where a token is asked for.
        headers = {"Host": "studio.example", "Authorization": "Bearer s3cret"}
        async with server.http.get(f"{server.url}/api/sessions", headers=headers) as response:
            assert response.status == 200
        async with (
            await Publisher.start(server, "me", token="s3cret"),
            await Viewer.start(server, "me", token="s3cret") as viewer,
        ):
            await viewer.see(3)


async def test_without_a_token_only_loopback_names_are_answered(server: Server) -> None:
    for host in ("studio.example", "127.0.0.1.example:80", "192.0.2.1", "", "[::2]", "localhost.evil", "["):
        async with server.http.get(f"{server.url}/healthz", headers={"Host": host}) as response:
            if response.content_type == "application/problem+json":
                assert "--token" in await problem(response, 403)
            else:
                assert response.status == 400  # aiohttp itself refuses what is no host at all
    for host in ("localhost", "localhost:9", "127.0.0.1:8080", "127.8.9.1", "[::1]:80", "app.localhost"):
        async with server.http.get(f"{server.url}/healthz", headers={"Host": host}) as response:
            assert response.status == 200, host


async def test_the_api_speaks_of_sessions(server: Server, hub: FakeHub) -> None:
    hub.open("me")
    url = f"{server.url}/api/sessions"
    async with server.http.get(url) as response:
        assert [row["name"] for row in await response.json()] == ["me"]
    async with server.http.get(f"{url}/me") as response:
        assert (await response.json())["name"] == "me"
    async with server.http.patch(f"{url}/me/settings", json={"prompt": "ink"}) as response:
        assert await response.json() == {"id": 1, "settings": {"prompt": "ink", "seed": 0}}
    async with server.http.get(f"{url}/me/settings") as response:
        assert (await response.json())["prompt"] == "ink"
    async with server.http.get(f"{server.url}/api/about") as response:
        assert (await response.json())["model"] == "inverting"
    async with server.http.get(f"{server.url}/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
    async with server.http.delete(f"{url}/me") as response:
        assert response.status == 204
    assert hub.ended == [("me", "The session was ended through the API.")]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"[1]", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"\xff", JSON, 400),
        (b'{"nothing": 1}', JSON, 400),
        (b"{}", SDP, 415),
        (b'{"prompt": "' + b"x" * 2_000_000 + b'"}', JSON, 413),
        (b'{"prompt": "crash"}', JSON, 500),
    ],
)
async def test_a_bad_settings_patch_changes_nothing(
    server: Server, hub: FakeHub, body: bytes, headers: dict[str, str], status: int
) -> None:
    session = hub.open("me")
    async with server.http.patch(f"{server.url}/api/sessions/me/settings", data=body, headers=headers) as response:
        await problem(response, status)
    assert session.settings() == {"prompt": "", "seed": 0}


async def test_the_pages_are_served_as_they_lie_there(hub: FakeHub, tmp_path: Path) -> None:
    root = tmp_path / "web"
    root.mkdir()
    for name in ("index.html", "viewer.html", "sdxs-stream.js", "studio.css"):
        (root / name).write_text(f"this is {name}")
    (tmp_path / "secret.txt").write_text("secret")
    pages = {"/": "index.html", "/view/me": "viewer.html", "/sdxs-stream.js": "sdxs-stream.js"}
    pages["/static/studio.css"] = "studio.css"
    async with serve(make_app(hub, web_root=root)) as server:
        for path, name in pages.items():
            async with server.http.get(server.url + path) as response:
                assert await response.text() == f"this is {name}"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
        async with server.http.get(f"{server.url}/sdxs-stream.js") as response:
            assert response.content_type == "text/javascript"
        for path in ("/static/..%2fsecret.txt", "/static/%2e%2e/secret.txt", "/static/%2e%2e", "/static/.%00"):
            async with server.http.get(URL(server.url + path, encoded=True)) as response:
                await problem(response, 404)
