// The studio page: wires the fields, the buttons and the numbers to one live session.

import { Api, BASE, readStored, store } from "./api.js";
import { checkBrowser, listCameras } from "./camera.js";
import { askToken } from "./dialog.js";
import { SettingsForm } from "./form.js";
import { bindKeys } from "./keys.js";
import { inWords, Live } from "./live.js";
import { StatusLine } from "./status.js";
import { StylePicker } from "./styles.js";

const ABOUT_RETRY_MS = 1_500;
const CAMERA_KEY = "sdxs.camera";

const byId = (id) => document.getElementById(id);
const api = new Api({ askToken });
const status = new StatusLine(byId("status"));
const form = new SettingsForm(document);
const styles = new StylePicker(byId("preset"), byId("styles"));
const live = new Live(api, {
  input: byId("input"),
  output: byId("output"),
  session: new URLSearchParams(location.search).get("session"),
});

/** What a new session starts from; null until the server has told. */
let defaults = null;
/** Settings messages on their way: `ref` to the time they were sent. */
const asked = new Map();
/** Ids of changes that were answered and not yet seen: to the time they were asked for. */
const changes = new Map();
let nextRef = 1;
let lastStats = null;
let lastVisible = null;

/** For a look from outside; it changes nothing. */
window.sdxs = Object.freeze({
  get state() {
    return live.state;
  },
  get session() {
    return live.session;
  },
  get stats() {
    return lastStats;
  },
  get visible() {
    return lastVisible;
  },
});

// Settings.

form.addEventListener("patch", ({ detail }) => send(detail));
form.addEventListener("edit", () => styles.show(form.prompt.value));
styles.addEventListener("pick", ({ detail }) => form.setPrompt(detail.prompt));

function send(patch) {
  const ref = nextRef++;
  if (live.send({ ...patch, ref })) asked.set(ref, performance.now());
}

/** A new session starts from the defaults: tell it what was chosen before. */
function sendChosen() {
  if (!defaults) return;
  asked.clear();
  changes.clear();
  const chosen = Object.entries(form.values()).filter(([name, value]) => defaults[name] !== value);
  if (chosen.length > 0) send(Object.fromEntries(chosen));
}

const hear = {
  settings({ ref, id }) {
    changes.set(id, asked.get(ref) ?? performance.now());
    asked.delete(ref);
  },
  visible({ id, seq }) {
    lastVisible = { id, seq };
    const since = changes.get(id);
    changes.delete(id);
    const cue = byId("cue");
    Object.assign(cue.dataset, { id, seq });
    const delay = since === undefined ? "" : `, after ${Math.round(performance.now() - since)} ms`;
    cue.textContent = `Change ${id}: picture ${seq}${delay}`;
  },
  stats(row) {
    lastStats = row;
    showStats(row);
    // Somebody else may have changed them through the API; what is being changed here comes first.
    if (asked.size > 0 || form.isPending) return;
    form.show(row.settings ?? {});
    styles.show(form.prompt.value);
  },
  error({ ref, detail }) {
    asked.delete(ref);
    status.show("That setting wasn't taken", detail, "error");
  },
};

live.addEventListener("message", ({ detail }) => hear[detail.type]?.(detail));

function showStats({ fps_in, fps_out, latency_ms, model_ms, frames_dropped }) {
  const numbers = {
    fps_in: fps_in?.toFixed(1),
    fps_out: fps_out?.toFixed(1),
    latency_p50: latency_ms?.p50?.toFixed(0),
    latency_p95: latency_ms?.p95?.toFixed(0),
    model_ms: model_ms?.toFixed(1),
    dropped: frames_dropped,
  };
  for (const [name, value] of Object.entries(numbers)) {
    document.querySelector(`[data-stat=${name}]`).textContent = value ?? "–";
  }
}

// Start, stop, and what goes on.

const start = byId("start");
const stop = byId("stop");
start.addEventListener("click", () => start.ariaDisabled !== "true" && live.start(byId("camera").value));
stop.addEventListener("click", () => live.stop());

live.addEventListener("state", ({ detail: { state, title, message, error } }) => {
  const before = document.body.dataset.state;
  document.body.dataset.state = state;
  // Not `disabled`, which would take the keyboard's place away: a second press just does nothing.
  start.ariaDisabled = String(state !== "idle");
  start.querySelector("span").textContent = { idle: "Start", live: "Live" }[state] ?? "Starting…";
  if (state === "idle" && document.activeElement === stop) start.focus();
  stop.disabled = state === "idle";
  status.show(title, message, error ? "error" : state, error?.retryAfter);
  if (before !== "live" && state === "live") began();
  if (state === "idle") ended();
});

function began() {
  sendChosen();
  showLink();
  keepAwake();
}

function ended() {
  showLink();
  letSleep();
}

for (const id of ["input", "output"]) {
  const video = byId(id);
  const frame = video.closest(".frame");
  video.addEventListener("playing", () => (frame.dataset.on = ""));
  video.addEventListener("emptied", () => delete frame.dataset.on);
}

addEventListener("pagehide", () => live.stop());

// Cameras.

const cameras = byId("camera");
cameras.addEventListener("change", () => {
  store(CAMERA_KEY, cameras.value);
  live.useCamera(cameras.value);
});
live.addEventListener("camera", showCameras);
navigator.mediaDevices?.addEventListener?.("devicechange", showCameras);

async function showCameras() {
  const chosen = cameras.value || readStored(CAMERA_KEY) || "";
  const found = await listCameras();
  cameras.replaceChildren(cameras.options[0], ...found.map(({ id, label }) => new Option(label, id)));
  cameras.value = found.some(({ id }) => id === chosen) ? chosen : "";
}

// The viewer's link.

function showLink() {
  const link = byId("viewer-link");
  byId("copy").disabled = !live.session;
  if (!live.session) return void (link.value = "");
  const url = new URL(`view/${encodeURIComponent(live.session)}`, BASE);
  if (api.token) url.hash = new URLSearchParams({ token: api.token });
  link.value = url.href;
  byId("share-hint").textContent = api.token ? "It contains the token: whoever has the link can watch and steer." : "";
}

byId("copy").addEventListener("click", async () => {
  const link = byId("viewer-link");
  link.select();
  await navigator.clipboard?.writeText(link.value).catch(() => document.execCommand("copy"));
  byId("share-hint").textContent = "Copied.";
});

// Fullscreen, keys, and a screen that stays on.

const outputFrame = byId("output-frame");
byId("fullscreen").addEventListener("click", toggleFullscreen);

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (outputFrame.requestFullscreen) outputFrame.requestFullscreen().catch(() => {});
  else byId("output").webkitEnterFullscreen?.();
}

bindKeys({
  s: () => (live.state === "idle" ? start : stop).click(),
  f: toggleFullscreen,
  r: () => form.randomSeed(),
  p: () => form.prompt.focus(),
  digit: (digit) => styles.pick(digit - 1),
});

let awake = null;
async function keepAwake() {
  awake ??= await navigator.wakeLock?.request("screen").catch(() => null);
  awake?.addEventListener("release", () => (awake = null));
}
function letSleep() {
  awake?.release();
}
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && live.state === "live") keepAwake();
});

// First things.

async function introduce() {
  form.showNumbers();
  showCameras();
  try {
    checkBrowser();
  } catch (error) {
    status.show(error.title, error.message, "error");
  }
  const about = await loadAbout();
  if (!about) return;
  const [height, width] = about.size ?? [];
  byId("model").textContent = `${about.model} · ${about.backend} on ${about.device} · ${width} × ${height}`;
  byId("control").replaceChildren(...(about.controls ?? []).map((name) => new Option(name, name)));
  defaults = about.defaults ?? {};
  styles.fill(about.styles ?? []);
  form.showDefaults(defaults);
  styles.show(form.prompt.value);
  if (live.state === "live") sendChosen();
  if (live.state === "idle" && !status.isError)
    status.show("Ready", "Press Start: a diffusion model repaints your camera along its edges.", "idle");
}

/** Waits for a server that warms up or comes back; null when it refuses. */
async function loadAbout() {
  for (;;) {
    try {
      return await api.about();
    } catch (error) {
      const passing = error.status === 503 || error.status === 0;
      const { title, message } = inWords(error);
      if (live.state === "idle")
        status.show(
          error.status === 503 ? "Warming up…" : title,
          message,
          passing && error.status ? "starting" : "error",
        );
      if (!passing) return null;
      await new Promise((resolve) => setTimeout(resolve, ABOUT_RETRY_MS));
    }
  }
}

introduce();
