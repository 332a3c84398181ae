"""Connections come and go: nothing is left behind, and nobody else notices."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator

import psutil
import pytest

from streaming.peer import PeerOptions
from streaming.server import CONNECTIONS, make_app
from tests.streaming.fakes import FakeHub
from tests.webrtc import MovingPicture, Publisher, Server, Viewer, eventually, make_offer, new_connection, serve

SDP = {"Content-Type": "application/sdp"}
HASTY = PeerOptions(connect_timeout=1.0, frame_timeout=1.5)


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
async def server(hub: FakeHub) -> AsyncIterator[Server]:
    async with serve(make_app(hub, options=HASTY)) as server:
        yield server


async def test_a_client_that_never_connects_is_reaped(server: Server, hub: FakeHub) -> None:
    connection = new_connection()
    connection.addTransceiver(MovingPicture(), direction="sendonly")
    offer = await make_offer(connection)
    await connection.close()
    async with server.http.post(f"{server.url}/whip?session=ghost", data=offer, headers=SDP) as response:
        assert response.status == 201
    assert "ghost" in hub.live
    await eventually(lambda: not hub.live, "the session ends")
    assert "didn't come up" in hub.ended[0][1]
    async with server.http.delete(f"{server.url}/whip/ghost") as response:
        assert response.status == 404


async def test_a_publisher_that_vanishes_is_cleaned_up_and_its_viewers_are_told(server: Server, hub: FakeHub) -> None:
    publisher = await Publisher.start(server, "me")
    async with await Publisher.start(server, "other"), await Viewer.start(server, "other") as neighbour:
        viewer = await Viewer.start(server, "me")
        await viewer.see(5)
        await publisher.vanish()
        ended = await viewer.control.event("ended")
        assert "No picture came" in ended["reason"]
        await eventually(lambda: viewer.connection.connectionState == "closed", "the viewer's connection closes")
        assert list(hub.live) == ["other"]
        await neighbour.see(10)
        await viewer.close()


async def test_a_viewer_that_vanishes_is_cleaned_up_and_the_others_see_on(server: Server, hub: FakeHub) -> None:
    async with await Publisher.start(server, "me"), await Viewer.start(server, "me") as staying:
        leaving = await Viewer.start(server, "me")
        await leaving.see(5)
        assert len(hub.live["me"].viewers) == 2
        await leaving.vanish()
        await eventually(lambda: len(hub.live["me"].viewers) == 1, "the vanished viewer is let go")
        await staying.see(10)


async def test_a_publisher_that_stops_ends_its_session_for_its_viewers(server: Server, hub: FakeHub) -> None:
    publisher = await Publisher.start(server, "me")
    viewer = await Viewer.start(server, "me")
    await viewer.see(3)
    await publisher.connection.close()  # no DELETE: a closed browser tab
    assert (await viewer.control.event("ended"))["reason"]
    await eventually(lambda: viewer.connection.connectionState == "closed", "the viewer's connection closes")
    async with await Publisher.start(server, "me"), await Viewer.start(server, "me") as again:
        await again.see(3)
    await asyncio.gather(publisher.close(), viewer.close())


async def test_a_session_ended_by_the_api_closes_its_publisher(server: Server, hub: FakeHub) -> None:
    async with await Publisher.start(server, "me") as publisher:
        async with server.http.delete(f"{server.url}/api/sessions/me") as response:
            assert response.status == 204
        assert (await publisher.control.event("ended"))["reason"] == "The session was ended through the API."
        await eventually(lambda: publisher.connection.connectionState == "closed", "the connection closes")
    assert len(hub.ended) == 1


async def test_an_old_publisher_that_closes_late_leaves_its_successor_alone(server: Server, hub: FakeHub) -> None:
    old = await Publisher.start(server, "me")
    hub.close("me", reason="Replaced.")
    async with await Publisher.start(server, "me"), await Viewer.start(server, "me") as viewer:
        await eventually(lambda: old.connection.connectionState == "closed", "the old connection closes")
        await old.connection.close()
        await viewer.see(10)
        assert [name for name, _ in hub.ended] == ["me"]


async def test_settings_over_the_data_channel(server: Server, hub: FakeHub) -> None:
    async with await Publisher.start(server, "me") as publisher, await Viewer.start(server, "me") as viewer:
        reply = await publisher.control.change(prompt="ink")
        assert reply == {"type": "settings", "id": 1, "settings": {"prompt": "ink", "seed": 0}, "ref": "ref-1"}
        assert (await viewer.control.change(seed=7))["settings"] == {"prompt": "ink", "seed": 7}
        hub.live["me"].tell({"type": "visible", "id": 2, "seq": 5})
        for client in (publisher, viewer):
            assert await client.control.event("visible") == {"type": "visible", "id": 2, "seq": 5}


@pytest.mark.parametrize(
    "message", ["{", "[]", "1", b"\x00\x01", '{"nothing": 1}', "[" * 10_000, "x" * 20_000, '{"prompt": "crash"}', ""]
)
async def test_a_bad_message_gets_an_error_and_the_stream_goes_on(
    server: Server, hub: FakeHub, message: str | bytes
) -> None:
    async with await Publisher.start(server, "me") as publisher, await Viewer.start(server, "me") as viewer:
        await publisher.control.send(message)
        error = await publisher.control.event("error")
        assert error["detail"].endswith(".")
        await viewer.see(5)
        assert hub.live["me"].settings() == {"prompt": "", "seed": 0}
        assert (await publisher.control.change(prompt="ink"))["type"] == "settings"


async def test_audio_in_the_offer_is_refused_without_harm(server: Server, hub: FakeHub) -> None:
    async with await Publisher.start(server, "me", audio=True) as publisher, await Viewer.start(server, "me") as viewer:
        await viewer.see(10)
        kinds = {t.kind: t.currentDirection for t in publisher.connection.getTransceivers()}
        assert kinds == {"audio": "inactive", "video": "sendonly"}


async def test_without_a_data_channel_pictures_flow_as_well(server: Server) -> None:
    async with (
        await Publisher.start(server, "me", control=False),
        await Viewer.start(server, "me", control=False) as viewer,
    ):
        await viewer.see(5)


async def test_a_session_that_fails_to_take_frames_ends_alone(server: Server, hub: FakeHub) -> None:
    async with (
        await Publisher.start(server, "good"),
        await Viewer.start(server, "good") as viewer,
        await Publisher.start(server, "bad") as bad,
    ):
        hub.live["bad"].broken = True
        assert "failed" in (await bad.control.event("ended"))["reason"]
        await viewer.see(10)
        assert list(hub.live) == ["good"]


@pytest.mark.slow
async def test_twenty_connects_and_disconnects_leave_nothing(hub: FakeHub) -> None:
    app = make_app(hub)
    process = psutil.Process()

    async def one_round(server: Server) -> None:
        publisher = await Publisher.start(server, "me")
        viewer = await Viewer.start(server, "me")
        await viewer.see(3)
        await viewer.close()
        await publisher.close()

    def held() -> dict[str, int]:
        # The two thread pools grow to a bound of their own, when it happens to be busy.
        threads = [
            thread.name for thread in threading.enumerate() if not thread.name.startswith(("asyncio_", "to-rgb"))
        ]
        return {"threads": len(threads), "descriptors": process.num_fds(), "tasks": len(asyncio.all_tasks())}

    async def settled() -> dict[str, int]:
        await eventually(lambda: not app[CONNECTIONS].all(), "all connections are closed")
        gc.collect()
        return held()

    async with serve(app) as server:
        for _ in range(3):
            await one_round(server)
        before = await settled()
        for _ in range(20):
            await one_round(server)
        after = await settled()
        await eventually(
            lambda: all(held()[name] <= before[name] for name in before), f"{after} is no more than {before}"
        )
        assert not hub.live


async def test_shutdown_closes_every_connection(hub: FakeHub) -> None:
    async with serve(make_app(hub)) as server:
        publisher = await Publisher.start(server, "me")
        viewer = await Viewer.start(server, "me")
        await viewer.see(3)
    for client in (publisher, viewer):
        await eventually(lambda client=client: client.connection.connectionState == "closed", "the client is closed")
        await client.connection.close()
    assert hub.ended == [("me", "The server shuts down.")]
