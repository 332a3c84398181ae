// Plays a painted stream by WHEP, in a page of one's own. Nothing else is needed:
//
//   <script type="module" src="https://host/sdxs-stream.js"></script>
//   <sdxs-stream src="https://host/whep/NAME" token="..."></sdxs-stream>
//
// It connects by itself, and again whenever the stream comes back. The server must allow the page's origin.
// Attributes: `src`, `token` (if the server wants one), `fit` (`contain`, the default, or `cover`); properties too.
// Property `video`: the <video> inside. Method `close()`: stop for good.
// Events: `playing` (a picture is there), `ended` (`detail.reason`), `error` (`detail.message`, `.status`, `.final`).

const CONNECT_MS = 10_000;
const GATHER_MS = 1_000;
const REQUEST_MS = 10_000;
/** How long a connection may give no picture before it is made anew. */
const SILENCE_MS = 5_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8_000;
const WATCH_MS = 200;
/** Nobody mends these by waiting. */
const FINAL = new Set([400, 401, 403, 405, 413, 415]);

class StreamError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/**
 * One WHEP connection that is made again, with longer and longer pauses, until `close()`. Events as of the element, and
 * of the data channel `control`: `open`, and `message` (`detail`: what the server said).
 */
export class WhepPlayer extends EventTarget {
  constructor(video, { src, token = null }) {
    super();
    this.video = video;
    this.src = new URL(src, location.href);
    this.token = token;
    this.wait = FIRST_WAIT_MS;
    this.closed = false;
    this.shown = false;
    this.leave = () => this.hangUp();
    this.comeBack = ({ persisted }) => persisted && this.again(0);
    addEventListener("pagehide", this.leave);
    addEventListener("pageshow", this.comeBack);
    this.connect();
  }

  /** Stop for good. May be called twice. `over`: the session ends anyway, the server needn't be told. */
  close({ over = false } = {}) {
    if (this.closed) return;
    this.closed = true;
    if (over) this.resource = null;
    clearTimeout(this.retry);
    removeEventListener("pagehide", this.leave);
    removeEventListener("pageshow", this.comeBack);
    this.hangUp();
    this.video.srcObject = null;
  }

  /** Says something on the data channel; false while it isn't open. */
  send(message) {
    if (this.channel?.readyState !== "open") return false;
    this.channel.send(JSON.stringify(message));
    return true;
  }

  async connect() {
    const connection = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" });
    this.connection = connection;
    try {
      await this.negotiate(connection);
    } catch (error) {
      if (this.connection === connection && !this.closed) this.failed(error);
    }
  }

  async negotiate(connection) {
    const channel = connection.createDataChannel("control");
    this.channel = channel;
    channel.addEventListener("open", () => this.dispatchEvent(new CustomEvent("open")));
    channel.addEventListener("message", ({ data }) => this.hear(connection, data));
    channel.addEventListener("close", () => this.lost(connection, "The server ended the connection."));
    const { receiver } = connection.addTransceiver("video", { direction: "recvonly" });
    // The newest picture at once: a buffer would only make it older.
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    connection.addEventListener("connectionstatechange", () => {
      if (["failed", "closed"].includes(connection.connectionState)) this.lost(connection, "The connection broke.");
    });
    await connection.setLocalDescription(await connection.createOffer());
    await gathered(connection);
    const { sdp, resource } = await this.post(connection.localDescription.sdp);
    if (this.connection !== connection) return remove(resource, this.token);
    this.resource = resource;
    await connection.setRemoteDescription({ type: "answer", sdp });
    this.video.srcObject = new MediaStream([receiver.track]);
    this.video.play().catch(() => {}); // where autoplay is forbidden the page has to call it
    this.watch(connection);
  }

  async post(sdp) {
    const headers = { "Content-Type": "application/sdp", ...authorization(this.token) };
    const signal = timeLimit(REQUEST_MS);
    const response = await fetch(this.src, { method: "POST", body: sdp, headers, signal }).catch(() => {
      throw new StreamError(`Nothing answers at ${this.src.host}, or it doesn't allow this page (--allow-origin).`);
    });
    if (!response.ok) {
      const problem = await response.json().catch(() => ({}));
      throw new StreamError(problem.detail ?? `The server answered with ${response.status}.`, response.status);
    }
    const place = response.headers.get("Location");
    return { sdp: await response.text(), resource: place && new URL(place, response.url) };
  }

  /** Watches the count of decoded pictures: a dead connection looks alive for half a minute. */
  watch(connection) {
    let decoded = 0;
    let last = performance.now();
    const timer = setInterval(async () => {
      const count = await framesDecoded(connection);
      if (this.connection !== connection) return;
      if (count > decoded) {
        [decoded, last] = [count, performance.now()];
        this.plays();
      } else if (performance.now() - last > (decoded ? SILENCE_MS : CONNECT_MS)) {
        this.lost(connection, "No picture comes any more.");
      }
    }, WATCH_MS);
    this.timer = timer;
  }

  plays() {
    this.wait = FIRST_WAIT_MS;
    if (this.shown) return;
    this.shown = true;
    this.dispatchEvent(new CustomEvent("playing"));
  }

  hear(connection, data) {
    const message = parse(data);
    if (!message || this.connection !== connection) return;
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
    if (message.type === "ended") this.lost(connection, message.reason, true);
  }

  lost(connection, reason, over = false) {
    if (this.connection !== connection || this.closed) return;
    if (over) this.end(reason);
    this.failed(new StreamError(reason));
  }

  failed(error) {
    this.hangUp();
    // The session is gone, not just the connection.
    if (error.status === 404) this.end(error.message);
    const { message, status } = error;
    const final = FINAL.has(status);
    this.dispatchEvent(new CustomEvent("error", { detail: { message, status, final } }));
    if (final || this.closed) return;
    this.again(this.wait * (0.75 + Math.random() / 2));
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
  }

  again(delay) {
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), delay);
  }

  end(reason) {
    if (!this.shown) return;
    this.shown = false;
    this.dispatchEvent(new CustomEvent("ended", { detail: { reason } }));
  }

  hangUp() {
    clearInterval(this.timer);
    const { connection, resource } = this;
    this.connection = this.resource = null;
    connection?.close();
    if (resource) remove(resource, this.token);
  }
}

/** `<sdxs-stream src="https://host/whep/NAME" token="...">` */
export class SdxsStream extends HTMLElement {
  static observedAttributes = ["src", "token", "fit"];

  constructor() {
    super();
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, autoplay: true, playsInline: true, disablePictureInPicture: true });
    Object.assign(this.video.style, { display: "block", width: "100%", height: "100%" });
    this.video.setAttribute("part", "video");
    this.attachShadow({ mode: "open" }).append(this.video);
  }

  connectedCallback() {
    if (getComputedStyle(this).display === "inline") this.style.display = "block";
    this.open();
  }

  disconnectedCallback() {
    this.close();
  }

  attributeChangedCallback(name, before, now) {
    this.video.style.objectFit = this.getAttribute("fit") === "cover" ? "cover" : "contain";
    if (this.isConnected && name !== "fit" && before !== now) this.open();
  }

  /** Stop for good; another `src` starts again. */
  close() {
    this.player?.close();
    this.player = null;
  }

  open() {
    this.close();
    const src = this.getAttribute("src");
    if (!src) return;
    this.player = new WhepPlayer(this.video, { src, token: this.getAttribute("token") });
    for (const type of ["playing", "ended", "error"]) {
      this.player.addEventListener(type, ({ detail }) => this.dispatchEvent(new CustomEvent(type, { detail })));
    }
  }
}

// The attributes as properties, so that `stream.src = "..."` works too.
for (const name of SdxsStream.observedAttributes) {
  Object.defineProperty(SdxsStream.prototype, name, {
    get() {
      return this.getAttribute(name);
    },
    set(value) {
      if (value === null) this.removeAttribute(name);
      else this.setAttribute(name, value);
    },
  });
}

if (!customElements.get("sdxs-stream")) customElements.define("sdxs-stream", SdxsStream);

async function framesDecoded(connection) {
  let count = 0;
  for (const report of (await connection.getStats()).values()) {
    if (report.type === "inbound-rtp") count += report.framesDecoded ?? 0;
  }
  return count;
}

function gathered(connection) {
  if (connection.iceGatheringState === "complete") return null;
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER_MS);
    connection.addEventListener("icegatheringstatechange", () => {
      if (connection.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}

function remove(resource, token) {
  if (resource) fetch(resource, { method: "DELETE", headers: authorization(token), keepalive: true }).catch(() => {});
}

function authorization(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function timeLimit(ms) {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), ms);
  return controller.signal;
}

function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
