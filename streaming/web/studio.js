// The studio page: wires the fields, the buttons and the numbers to one live session.

import { Api, readStored, store } from "./api.js";
import { keepAwake, letSleep } from "./awake.js";
import { checkBrowser, listCameras } from "./camera.js";
import { Changes } from "./changes.js";
import { askToken } from "./dialog.js";
import { DrawingDesk } from "./drawing.js";
import { SettingsForm } from "./form.js";
import { bindKeys } from "./keys.js";
import { Live } from "./live.js";
import { DrawingSender } from "./sender.js";
import { ViewerLink } from "./share.js";
import { showStats } from "./stats.js";
import { StatusLine } from "./status.js";
import { StylePicker } from "./styles.js";
import { inWords, NO_DRAWINGS, WORDS } from "./words.js";

const ABOUT_RETRY_MS = 1_500;
const CAMERA_KEY = "sdxs.camera";

const byId = (id) => document.getElementById(id);
const api = new Api({ askToken });
const status = new StatusLine(byId("status"));
const form = new SettingsForm(document);
const desk = new DrawingDesk(document);
const viewerLink = new ViewerLink(document);
const styles = new StylePicker(byId("preset"), byId("styles"));
const live = new Live(api, {
  input: byId("input"),
  output: byId("output"),
  session: new URLSearchParams(location.search).get("session"),
});

const sender = new DrawingSender({
  snapshot: () => desk.sketch.toBlob(),
  put: (session, picture, signal) => api.putDrawing(session, picture, signal),
});

/** Settings messages on their way: `ref` to the time they were sent. */
const asked = new Map();
const changes = new Changes(byId("cue"));
let nextRef = 1;
let lastStats = null;

/** For a look from outside; it changes nothing. */
window.sdxs = Object.freeze({
  get mode() {
    return form.mode;
  },
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
    return changes.last;
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
  asked.clear();
  const chosen = form.chosen();
  if (Object.keys(chosen).length > 0) send(chosen);
}

const hear = {
  settings({ ref, id }) {
    changes.expect(id, asked.get(ref) ?? performance.now());
    asked.delete(ref);
  },
  visible(event) {
    changes.seen(event);
  },
  stats(row) {
    lastStats = row;
    showStats(document, row);
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

// Start, stop, and what goes on.

const start = byId("start");
const stop = byId("stop");
start.addEventListener("click", () => start.ariaDisabled !== "true" && begin());
stop.addEventListener("click", () => live.stop());

function begin() {
  live.start(form.mode, byId("camera").value);
}

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
  if (state !== "live") sender.end();
  if (state === "idle") ended();
});

function began() {
  changes.forget();
  sendChosen();
  if (live.mode === "draw") sender.begin(live.session);
  viewerLink.show(live.session, api.token);
  keepAwake();
}

function ended() {
  viewerLink.show(null);
  letSleep();
}

for (const id of ["input", "output"]) {
  const video = byId(id);
  const frame = video.closest(".frame");
  video.addEventListener("playing", () => (frame.dataset.on = ""));
  video.addEventListener("emptied", () => delete frame.dataset.on);
}

addEventListener("pagehide", () => live.stop());

// Modes, and the drawing.

for (const radio of document.querySelectorAll("[name=mode]")) {
  radio.addEventListener("change", () => radio.checked && changeMode(radio.value));
}

/** What runs goes on in the new mode, as a new session of the same name. */
function changeMode(mode) {
  const isRunning = live.state !== "idle";
  live.stop();
  enterMode(mode);
  if (isRunning) begin();
  else showReady();
}

function enterMode(mode) {
  form.enter(mode);
  document.body.dataset.mode = mode;
  byId(`mode-${mode}`).checked = true;
}

desk.addEventListener("change", () => sender.offer());
desk.addEventListener("refused", ({ detail }) => status.show("Not a picture", detail, "error"));
sender.addEventListener("sent", ({ detail: { id, at } }) => changes.expect(id, at));
sender.addEventListener("refused", ({ detail }) => {
  // A session that is gone says so itself.
  if (detail.status !== 404) status.show("That drawing wasn't taken", detail.message, "error");
});

// Two prompts are needed to walk between them.
byId("walk").addEventListener("change", () => {
  const second = byId("prompt-b");
  if (byId("walk").value !== "prompts" || second.value) return;
  byId("mix").open = true;
  second.focus();
});

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

// Fullscreen and keys.

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
  b: () => desk.choose(false),
  e: () => desk.choose(true),
  p: () => form.prompt.focus(),
  digit: (digit) => styles.pick(digit - 1),
});

// First things.

async function introduce() {
  const asked = new URLSearchParams(location.search).get("mode");
  enterMode(asked in WORDS ? asked : "camera");
  showCameras();
  showReady();
  const about = await loadAbout();
  if (!about) return;
  const [height, width] = about.size ?? [512, 512];
  const runs = [`${about.backend} on ${about.device}`, about.dtype, `${width} × ${height}`].filter(Boolean);
  byId("model").textContent = [about.model, ...runs].join(" · ");
  document.documentElement.style.setProperty("--ratio", width / height);
  desk.resize(width, height);
  byId("note").textContent = about.note ?? "";
  styles.fill(about.styles ?? []);
  form.introduce(about);
  styles.show(form.prompt.value);
  if (live.state === "live") sendChosen();
  if (live.state === "idle" && !status.isError) showReady();
}

/** What to do now, or what is in the way of it. */
function showReady() {
  try {
    checkBrowser({ camera: form.mode === "camera" });
    if (!form.about.model) return;
    const canDraw = form.mode !== "draw" || form.about.controls.includes("sketch");
    if (canDraw) status.show("Ready", WORDS[form.mode].ready, "idle");
    else status.show(NO_DRAWINGS.title, NO_DRAWINGS.message, "error");
  } catch (error) {
    status.show(error.title, error.message, "error");
  }
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
