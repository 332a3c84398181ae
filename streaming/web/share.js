// The link to a session's bare viewer, and the button that copies it.

import { BASE } from "./api.js";

export class ViewerLink {
  constructor(root) {
    const find = (id) => root.querySelector(`#${id}`);
    this.field = find("viewer-link");
    this.copy = find("copy");
    this.hint = find("share-hint");
    this.copy.addEventListener("click", () => this.copied());
  }

  /** `session`: its name, or null for none. */
  show(session, token) {
    this.copy.disabled = !session;
    if (!session) return void (this.field.value = "");
    const url = new URL(`view/${encodeURIComponent(session)}`, BASE);
    if (token) url.hash = new URLSearchParams({ token });
    this.field.value = url.href;
    this.hint.textContent = token ? "It contains the token: whoever has the link can watch and steer." : "";
  }

  async copied() {
    this.field.select();
    await navigator.clipboard?.writeText(this.field.value).catch(() => document.execCommand("copy"));
    this.hint.textContent = "Copied.";
  }
}
