// The publisher: sends the camera by WHIP (RFC 9725) and talks about settings on the data channel `control`.

import { ApiError } from "./api.js";

const CONNECT_MS = 15_000;
const GATHER_MS = 1_000;
/** How long a connection may hang before it counts as lost: Wi-Fi blinks. */
const HANG_MS = 4_000;
const GOODBYE_MS = 1_000;
const MAX_BITRATE = 2_500_000;

/**
 * One connection, open from `open()` to `close()` or the event `lost` (`detail`: why).
 * Each JSON message of the server is an event `message` (`detail`: the object).
 */
export class Publisher extends EventTarget {
  constructor(api, stream) {
    super();
    this.api = api;
    this.stream = stream;
    this.session = null;
    this.resource = null;
    this.closed = false;
  }

  /** Resolves once pictures and messages flow. Throws ApiError, or what `signal` was aborted with. */
  async open(name, signal) {
    try {
      const connection = this.connect();
      await connection.setLocalDescription(await connection.createOffer());
      await gathered(connection, signal);
      const path = name ? `whip?session=${encodeURIComponent(name)}` : "whip";
      // Not stopped by the signal: the answer says where the session is that then has to be ended.
      const { sdp, resource } = await this.api.offer(path, connection.localDescription.sdp);
      this.resource = resource;
      this.session = decodeURIComponent(resource.pathname.split("/").pop());
      signal.throwIfAborted();
      await connection.setRemoteDescription({ type: "answer", sdp });
      await this.connected(signal);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Sends settings; false while there is no connection. */
  send(message) {
    if (this.channel?.readyState !== "open") return false;
    this.channel.send(JSON.stringify(message));
    return true;
  }

  /** Sends another camera from now on, on the same connection. */
  async replace(stream) {
    this.stream = stream;
    await this.sender.replaceTrack(stream.getVideoTracks()[0]);
  }

  /** Ends the session, also while the page is being closed. Resolves once it is over. May be called twice. */
  close() {
    this.ending ??= this.end();
    return this.ending;
  }

  async end() {
    this.closed = true;
    clearTimeout(this.hanging);
    // By HTTP first, so that the server knows why; a server that doesn't answer isn't waited for.
    if (this.resource) await goodbye(this.api, this.resource);
    this.connection?.close();
  }

  connect() {
    const connection = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
    this.connection = connection;
    this.channel = connection.createDataChannel("control");
    this.channel.addEventListener("message", ({ data }) => this.receive(data));
    this.channel.addEventListener("close", () => this.lose("The server ended the connection."));
    connection.addEventListener("connectionstatechange", () => this.stateChanged());
    const transceiver = connection.addTransceiver(this.stream.getVideoTracks()[0], {
      direction: "sendonly",
      streams: [this.stream],
      sendEncodings: [{ maxBitrate: MAX_BITRATE }],
    });
    preferCodecs(transceiver);
    this.sender = transceiver.sender;
    stayLarge(this.sender);
    return connection;
  }

  connected(signal) {
    const { connection, channel } = this;
    return new Promise((resolve, reject) => {
      const settle = (call, value) => {
        clearTimeout(timer);
        call(value);
      };
      const check = () => {
        if (connection.connectionState === "connected" && channel.readyState === "open") settle(resolve);
        if (this.closed || connection.connectionState === "failed") settle(reject, noWay());
      };
      const timer = setTimeout(() => reject(noWay()), CONNECT_MS);
      connection.addEventListener("connectionstatechange", check);
      channel.addEventListener("open", check);
      this.addEventListener("lost", check);
      signal.addEventListener("abort", () => settle(reject, signal.reason));
      check();
    });
  }

  stateChanged() {
    const state = this.connection.connectionState;
    clearTimeout(this.hanging);
    if (state === "failed" || state === "closed") this.lose("The connection to the server broke.");
    if (state === "disconnected") this.hanging = setTimeout(() => this.lose("The server went silent."), HANG_MS);
  }

  receive(data) {
    if (this.closed) return; // last words, still under way when the person pressed Stop
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  lose(reason) {
    if (this.closed) return;
    this.close();
    this.dispatchEvent(new CustomEvent("lost", { detail: reason }));
  }
}

/** Tells the server that this is over; one that doesn't answer isn't waited for. */
export function goodbye(api, resource) {
  return Promise.race([api.remove(resource), new Promise((resolve) => setTimeout(resolve, GOODBYE_MS))]);
}

export function noWay() {
  const why = "A firewall or VPN may block UDP between you and the server; try without it, or from another network.";
  return Object.assign(new ApiError(0, why), { title: "The server answers, but no video gets through" });
}

// H264 costs the server least and hardware makes it; VP8 is there in every browser.
function preferCodecs(transceiver) {
  const codecs = RTCRtpSender.getCapabilities?.("video")?.codecs ?? [];
  if (!transceiver.setCodecPreferences || codecs.length === 0) return;
  const rank = ({ mimeType, sdpFmtpLine = "" }) => {
    const type = mimeType.toLowerCase();
    if (type === "video/h264")
      return /packetization-mode=1/.test(sdpFmtpLine) && /=42[0-9a-f]{4}/i.test(sdpFmtpLine) ? 0 : 3;
    return type === "video/vp8" ? 1 : 2;
  };
  transceiver.setCodecPreferences([...codecs].sort((a, b) => rank(a) - rank(b)));
}

// Under load a browser shrinks the picture by default; edges then blur, and the painting with them.
async function stayLarge(sender) {
  const wanted = "maintain-resolution";
  try {
    const parameters = sender.getParameters();
    parameters.degradationPreference = wanted;
    await sender.setParameters(parameters);
  } catch {
    // Not before the connection is up in this browser; the hint below says the same.
  }
  if (sender.track && sender.getParameters().degradationPreference !== wanted) sender.track.contentHint = "detail";
}

async function gathered(connection, signal) {
  if (connection.iceGatheringState === "complete") return;
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER_MS);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
  signal.throwIfAborted();
}
