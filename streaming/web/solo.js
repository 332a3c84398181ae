// A session without a camera: made by the API, played by WHEP, with the data channel `control` on that connection.

import { ApiError, BASE } from "./api.js";
import { WhepPlayer } from "../sdxs-stream.js";
import { goodbye, noWay } from "./whip.js";

const CONNECT_MS = 15_000;

/**
 * To a page what `Publisher` is for a camera: open from `open()` to `close()` or the event `lost` (`detail`: why), each
 * JSON message of the server an event `message`. `player` shows the painted picture.
 */
export class Solo extends EventTarget {
  constructor(api, mode, video) {
    super();
    this.api = api;
    this.mode = mode;
    this.video = video;
    this.session = null;
    this.resource = null;
    this.player = null;
    this.closed = false;
  }

  /** Resolves once messages flow. Throws ApiError, or what `signal` was aborted with. */
  async open(name, signal) {
    try {
      // Not stopped by the signal: the answer says where the session is that then has to be ended.
      const { name: made, resource } = await this.api.makeSession(this.mode, name);
      [this.session, this.resource] = [made, resource];
      signal.throwIfAborted();
      await this.play(signal);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Sends settings; false while there is no connection. */
  send(message) {
    return this.player?.send(message) ?? false;
  }

  /** Ends the session, also while the page is being closed. Resolves once it is over. May be called twice. */
  close() {
    this.ending ??= this.end();
    return this.ending;
  }

  async end() {
    this.closed = true;
    this.player?.close({ over: true });
    if (this.resource) await goodbye(this.api, this.resource);
  }

  play(signal) {
    const src = new URL(`whep/${encodeURIComponent(this.session)}`, BASE);
    this.player = new WhepPlayer(this.video, { src, token: this.api.token });
    this.player.addEventListener("message", ({ detail }) => this.dispatchEvent(new CustomEvent("message", { detail })));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(noWay()), CONNECT_MS);
      const settle = (call, value) => {
        clearTimeout(timer);
        call(value);
      };
      this.player.addEventListener("open", () => settle(resolve));
      // The player would try again by itself; here a new session is made, as with a camera.
      this.player.addEventListener("error", ({ detail: { message, status } }) => {
        settle(reject, new ApiError(status, message));
        this.lose(message);
      });
      signal.addEventListener("abort", () => settle(reject, signal.reason));
    });
  }

  lose(reason) {
    if (this.closed) return;
    this.close();
    this.dispatchEvent(new CustomEvent("lost", { detail: reason }));
  }
}
