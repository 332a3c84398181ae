// One studio session from start to stop: camera or none, link, player, and coming back after a break.

import { BASE, readStored, sessionUrl, store } from "./api.js";
import { CameraError, checkBrowser, closeCamera, openCamera } from "./camera.js";
import { WhepPlayer } from "../sdxs-stream.js";
import { Solo } from "./solo.js";
import { Publisher } from "./whip.js";
import { inWords, WORDS } from "./words.js";

const NAME_KEY = "sdxs.session";
const WARMING_MS = 1_500;
const RETRIES_MS = [500, 1_000, 2_000, 4_000, 8_000];

/**
 * `state` is idle, starting, live or reconnecting. Events: `state` (`detail`: {state, title, message, error}) and
 * `message` (`detail`: what the server said on the data channel).
 */
export class Live extends EventTarget {
  constructor(api, { input, output, session = null }) {
    super();
    this.api = api;
    this.input = input;
    this.output = output;
    /** The name in the page's address is meant; one from before is merely nice to have again. */
    this.fixedName = session;
    this.state = "idle";
    this.run = null;
    this.stream = null;
    this.mode = "camera";
    /** The Publisher or Solo that holds the session. */
    this.link = null;
    this.player = null;
    /** Resolves when the server knows that the session before is over: its name is free then. */
    this.leaving = null;
  }

  get session() {
    return this.link?.session ?? null;
  }

  /** `mode`: camera, draw or imagine. Does nothing while one is running or starting. */
  async start(mode, cameraId) {
    if (this.run) return;
    const run = new AbortController();
    this.run = run;
    this.mode = mode;
    try {
      if (mode === "camera") await this.openCamera(cameraId, run.signal);
      else this.prepare();
      await this.join(this.fixedName ?? readStored(NAME_KEY), run.signal);
    } catch (error) {
      this.failed(run, error);
    }
  }

  /** Ends everything and lets the camera go; at once, also while the page is being closed. */
  stop() {
    if (!this.run) return;
    this.letGo();
    this.tell("idle", "Stopped", WORDS[this.mode].stopped);
  }

  /** Sends changed settings; false while there is no session. */
  send(message) {
    return this.link?.send(message) ?? false;
  }

  /** Another camera from now on. */
  async useCamera(cameraId) {
    const run = this.run;
    if (!run || !this.stream) return;
    try {
      closeCamera(this.stream); // many phones can't open two at a time
      await this.openCamera(cameraId, run.signal);
      await this.link?.replace(this.stream);
      if (this.state === "live") this.tell("live", "Live", "Another camera now.");
    } catch (error) {
      this.failed(run, error);
    }
  }

  async openCamera(cameraId, signal) {
    if (this.state === "idle") this.tell("starting", "Asking for the camera…", "Allow it if the browser asks.");
    const stream = await openCamera(cameraId);
    if (signal.aborted) {
      closeCamera(stream);
      signal.throwIfAborted();
    }
    closeCamera(this.stream); // of a choice that this one has overtaken
    const run = this.run;
    stream.getVideoTracks()[0].addEventListener("ended", () => this.cameraGone(run, stream));
    this.stream = stream;
    this.input.srcObject = stream;
    this.dispatchEvent(new Event("camera"));
  }

  prepare() {
    this.tell("starting", "Starting…", WORDS[this.mode].connecting);
    checkBrowser({ camera: false });
  }

  async join(name, signal) {
    if (this.state === "starting") this.tell("starting", "Connecting…", WORDS[this.mode].connecting);
    await this.leaving;
    signal.throwIfAborted();
    const link = await this.admitted(name, signal);
    store(NAME_KEY, link.session);
    this.link = link;
    link.addEventListener("message", ({ detail }) => this.hear(detail));
    link.addEventListener("lost", ({ detail }) => this.reconnect(detail));
    this.tell("live", "Connected", "Waiting for the first painted picture…");
    this.player = link.player ?? this.watch(link.session);
    const playing = () => this.tell("live", "Live", WORDS[this.mode].live);
    if (this.player.shown) playing();
    this.player.addEventListener("playing", playing);
  }

  watch(session) {
    const src = new URL(`whep/${encodeURIComponent(session)}`, BASE);
    return new WhepPlayer(this.output, { src, token: this.api.token });
  }

  /** An open link; waits as long as the server warms up. Throws ApiError. */
  async admitted(name, signal) {
    for (;;) {
      const isCamera = this.mode === "camera";
      const link = isCamera ? new Publisher(this.api, this.stream) : new Solo(this.api, this.mode, this.output);
      try {
        await link.open(name, signal);
        return link;
      } catch (error) {
        signal.throwIfAborted();
        if (error.status === 409 && !this.fixedName && this.state === "starting" && name !== null) {
          name = null; // another tab has it
        } else {
          // The one from before, which never heard that it was left.
          const isOurs = error.status === 409 && !isCamera && this.state === "reconnecting";
          if (isOurs) await this.api.remove(sessionUrl(name));
          await this.wait(error, signal);
        }
      }
    }
  }

  async wait(error, signal) {
    if (error.status !== 503) throw error;
    const waitingFor = await this.api.waitingFor(signal);
    if (waitingFor === null) throw error;
    this.tell(this.state, "Warming up…", waitingFor);
    await sleep(WARMING_MS, signal);
  }

  async reconnect(reason) {
    const { run, session } = this;
    if (!run || this.state !== "live") return;
    this.disconnect();
    let last = null;
    try {
      for (const pause of RETRIES_MS) {
        this.tell("reconnecting", "Connection lost", `${reason} Trying again…`);
        await sleep(pause, run.signal);
        last = await this.join(session, run.signal).catch((error) => error);
        if (!last) return;
        run.signal.throwIfAborted();
      }
      throw last;
    } catch (error) {
      this.failed(run, error);
    }
  }

  hear(message) {
    if (message.type === "ended") {
      this.letGo();
      this.tell("idle", "The session has ended", `${message.reason} Press Start to begin again.`, {
        reason: message.reason,
      });
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  cameraGone(run, stream) {
    if (stream !== this.stream) return;
    this.failed(run, new CameraError("The camera went away", "Plug it in again or choose another, then press Start."));
  }

  failed(run, error) {
    if (run !== this.run) return;
    this.letGo();
    const { title, message } = inWords(error);
    this.tell("idle", title, message, error);
  }

  letGo() {
    this.run?.abort();
    this.run = null;
    this.disconnect();
    closeCamera(this.stream);
    this.stream = null;
    this.input.srcObject = null;
  }

  disconnect() {
    this.player?.close({ over: true });
    if (this.link) this.leaving = this.link.close();
    this.player = this.link = null;
  }

  tell(state, title, message, error = null) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, title, message, error } }));
  }
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
