// One studio session from start to stop: camera, publisher, player, and coming back after a break.

import { ApiError, BASE, readStored, store } from "./api.js";
import { CameraError, closeCamera, openCamera } from "./camera.js";
import { WhepPlayer } from "../sdxs-stream.js";
import { Publisher } from "./whip.js";

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
    this.publisher = null;
    this.player = null;
  }

  get session() {
    return this.publisher?.session ?? null;
  }

  /** Does nothing while one is running or starting. */
  async start(cameraId) {
    if (this.run) return;
    const run = new AbortController();
    this.run = run;
    try {
      await this.openCamera(cameraId, run.signal);
      await this.publish(this.fixedName ?? readStored(NAME_KEY), run.signal);
    } catch (error) {
      this.failed(run, error);
    }
  }

  /** Ends everything and lets the camera go; at once, also while the page is being closed. */
  stop() {
    if (!this.run) return;
    this.letGo();
    this.tell("idle", "Stopped", "The camera is off.");
  }

  /** Sends changed settings; false while there is no session. */
  send(message) {
    return this.publisher?.send(message) ?? false;
  }

  /** Another camera from now on. */
  async useCamera(cameraId) {
    const run = this.run;
    if (!run || !this.stream) return;
    try {
      closeCamera(this.stream); // many phones can't open two at a time
      await this.openCamera(cameraId, run.signal);
      await this.publisher?.replace(this.stream);
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

  async publish(name, signal) {
    if (this.state === "starting")
      this.tell("starting", "Connecting…", "The camera is on; asking the server for a place.");
    const publisher = await this.admitted(name, signal);
    store(NAME_KEY, publisher.session);
    this.publisher = publisher;
    publisher.addEventListener("message", ({ detail }) => this.hear(detail));
    publisher.addEventListener("lost", ({ detail }) => this.reconnect(detail));
    this.tell("live", "Connected", "Waiting for the first painted picture…");
    const src = new URL(`whep/${encodeURIComponent(publisher.session)}`, BASE);
    this.player = new WhepPlayer(this.output, { src, token: this.api.token });
    this.player.addEventListener("playing", () => this.tell("live", "Live", "Every picture is repainted as it comes."));
  }

  /** A connected publisher; waits as long as the server warms up. Throws ApiError. */
  async admitted(name, signal) {
    for (;;) {
      const publisher = new Publisher(this.api, this.stream);
      try {
        await publisher.open(name, signal);
        return publisher;
      } catch (error) {
        signal.throwIfAborted();
        if (error.status === 409 && !this.fixedName && this.state === "starting") {
          name = null; // another tab has it
        } else {
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
        last = await this.publish(session, run.signal).catch((error) => error);
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
    this.publisher?.close();
    this.player = this.publisher = null;
  }

  tell(state, title, message, error = null) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, title, message, error } }));
  }
}

const TITLES = {
  0: "The server doesn't answer",
  401: "The server wants its token",
  409: "That name is taken",
  503: "No free place right now",
};

/** A title and a message for a person, of any error that can come up here. */
export function inWords(error) {
  if (error instanceof CameraError) return error;
  if (!(error instanceof ApiError))
    return { title: "That didn't work", message: `${error.message}. Press Start to try again.` };
  const title = error.title ?? TITLES[error.status] ?? "The server refused";
  if (error.status === 0 && !error.title) {
    return { title, message: `${error.message} See that sdxs-live is still running there, then press Start.` };
  }
  return { title, message: error.message };
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
