// The bare viewer at /view/NAME: `?fit=cover` fills the window, `?token=` or `#token=` for a server that wants one.

import "../sdxs-stream.js";

const name = decodeURIComponent(location.pathname.split("/").filter(Boolean).pop());
const query = new URLSearchParams(location.search);
const token = query.get("token") ?? new URLSearchParams(location.hash.slice(1)).get("token");
const stream = document.getElementById("stream");
const status = document.getElementById("status");
let seen = false;

document.title = `${name} · sdxs-live`;
status.textContent = `Waiting for “${name}”…`;

stream.addEventListener("playing", () => {
  seen = true;
  status.textContent = "";
  stream.style.visibility = "visible";
});
// A connection that breaks leaves its last picture standing; a show that is over goes black.
stream.addEventListener("ended", () => (stream.style.visibility = "hidden"));
stream.addEventListener("error", ({ detail }) => {
  if (detail.final) status.textContent = finalWords(detail);
  else if (!seen) status.textContent = `Waiting for “${name}”… ${detail.message}`;
});

stream.setAttribute("fit", query.get("fit") === "cover" ? "cover" : "contain");
if (token) stream.setAttribute("token", token);
if (window.RTCPeerConnection)
  stream.setAttribute("src", new URL(`../whep/${encodeURIComponent(name)}`, import.meta.url));
else status.textContent = "This browser can't do WebRTC; open this address in another one.";

function finalWords({ status: code, message }) {
  if (code !== 401) return message;
  return "This server wants its token: add #token=… to this address, or copy the viewer's link from the studio.";
}
