// Publishes a stamped canvas by WHIP, plays it back by WHEP, and tells how old each shown picture was.

const BITS_24 = 2 ** 24;

export async function measure({ side, fps, warmup, seconds, session }) {
  const { drawStamp, readStamp } = await import("/static/stamp.js");
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d");
  let drawn = 0;
  const draw = () => {
    scene(context, side, drawn);
    drawStamp(context, side, drawn++ % 65536, Math.floor(performance.now()) % BITS_24);
  };
  draw();
  const timer = setInterval(draw, 1000 / fps);
  const [track] = canvas.captureStream(fps).getVideoTracks();
  const publisher = await publish(track, session);
  const viewer = await play(session);
  await wait(warmup);
  const before = await counters(publisher, viewer.connection);
  const ages = await watch(viewer.video, readStamp, seconds);
  const after = await counters(publisher, viewer.connection);
  clearInterval(timer);
  const row = (await (await fetch("/api/sessions")).json()).find((each) => each.name === session);
  const { videoWidth, videoHeight } = viewer.video;
  publisher.close();
  viewer.connection.close();
  const browser = perFrame(before, after);
  const size = { width: videoWidth, height: videoHeight };
  return { ...ages, browser, model_ms: row.model_ms, server_ms: row.latency_ms, ...size };
}

function scene(context, side, index) {
  context.fillStyle = "#465060";
  context.fillRect(0, 0, side, side);
  for (let i = 0; i < 12; i++) {
    context.fillStyle = `hsl(${i * 67} 50% ${30 + ((i * 13) % 40)}%)`;
    context.fillRect((i * 97) % side, (i * 61) % side, side / 5, side / 7);
  }
  context.fillStyle = "#cda082";
  context.beginPath();
  context.ellipse(side / 2 + side * 0.2 * Math.sin(index / 12), side / 2, side / 6, side / 4, 0, 0, 7);
  context.fill();
}

async function publish(track, session) {
  const connection = new RTCPeerConnection();
  const sender = connection.addTrack(track, new MediaStream([track]));
  const parameters = sender.getParameters();
  parameters.degradationPreference = "maintain-resolution";
  await sender.setParameters(parameters);
  await signal(connection, `/whip?session=${session}`);
  return connection;
}

async function play(session) {
  const connection = new RTCPeerConnection();
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  document.body.replaceChildren(video);
  connection.addTransceiver("video", { direction: "recvonly" });
  connection.ontrack = ({ track }) => {
    video.srcObject = new MediaStream([track]);
    video.play();
  };
  await signal(connection, `/whep/${session}`);
  return { connection, video };
}

async function signal(connection, url) {
  await connection.setLocalDescription();
  if (connection.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
    });
  }
  const headers = { "Content-Type": "application/sdp" };
  const response = await fetch(url, { method: "POST", headers, body: connection.localDescription.sdp });
  if (response.status !== 201) throw new Error(`${url}: ${await response.text()}`);
  await connection.setRemoteDescription({ type: "answer", sdp: await response.text() });
}

// What the browser says of itself (webrtc-stats): seconds and frames since the connections began.
async function counters(publisher, player) {
  const of = async (connection, type) => {
    const every = [...(await connection.getStats()).values()];
    return every.find((each) => each.type === type && each.kind === "video") ?? {};
  };
  const out = await of(publisher, "outbound-rtp");
  const into = await of(player, "inbound-rtp");
  return {
    encode: [out.totalEncodeTime, out.framesEncoded],
    wait: [into.jitterBufferDelay, into.jitterBufferEmittedCount],
    decode: [into.totalDecodeTime, into.framesDecoded],
  };
}

// Mean milliseconds a frame in between; null for what the browser doesn't tell.
function perFrame(before, after) {
  const mean = (name) => (1000 * (after[name][0] - before[name][0])) / (after[name][1] - before[name][1]);
  const entries = Object.keys(after).map((name) => [name, mean(name)]);
  return Object.fromEntries(entries.map(([name, ms]) => [name, Number.isFinite(ms) ? ms : null]));
}

function watch(video, readStamp, seconds) {
  const copy = document.createElement("canvas");
  const context = copy.getContext("2d", { willReadFrequently: true });
  const result = { ages: [], counters: [], unreadable: 0 };
  const end = performance.now() + seconds * 1000;
  return new Promise((resolve) => {
    const shown = () => {
      const now = performance.now();
      if (now > end) return resolve(result);
      [copy.width, copy.height] = [video.videoWidth, video.videoHeight];
      context.drawImage(video, 0, 0);
      const stamp = readStamp(context.getImageData(0, 0, copy.width, Math.max(8, Math.floor(copy.width / 32))));
      if (stamp) {
        result.ages.push((now - stamp.timeMs + BITS_24) % BITS_24);
        result.counters.push(stamp.counter);
      } else {
        result.unreadable++;
      }
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  });
}

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
