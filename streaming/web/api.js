// The server's HTTP side: its address, the token, and errors with words a person can act on.

/** Where the server's root is: this module is served one folder below it, also behind a proxy's prefix. */
export const BASE = new URL("..", import.meta.url);

const TOKEN_KEY = "sdxs.token";
const REQUEST_MS = 10_000;

/** An answer other than success, or none at all (`status` 0). `message` is the server's own sentence. */
export class ApiError extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    /** Seconds until it is worth trying again, or null. */
    this.retryAfter = retryAfter;
  }
}

export class Api {
  /** `askToken(again)` answers the token that the person typed, or null; `again`: the last one was refused. */
  constructor({ askToken = async () => null } = {}) {
    this.token = takeTokenFromAddress() ?? readStored(TOKEN_KEY);
    this.askToken = askToken;
    this.asking = null;
  }

  /** What runs here; see GET /api/about. Throws ApiError. */
  async about(signal) {
    return (await this.request("api/about", { signal })).json();
  }

  /** Null when a session can be admitted, otherwise the sentence that says what is being waited for. */
  async waitingFor(signal) {
    try {
      await this.request("healthz", { signal });
      return null;
    } catch (error) {
      if (error.status === 503) return error.message;
      throw error;
    }
  }

  /** POSTs an SDP offer; answers `{sdp, resource}`. Throws ApiError. */
  async offer(path, sdp, signal) {
    const headers = { "Content-Type": "application/sdp" };
    const response = await this.request(path, { method: "POST", body: sdp, headers, signal });
    const resource = new URL(response.headers.get("Location") ?? "", response.url);
    return { sdp: await response.text(), resource };
  }

  /** Makes a session without a camera, `mode` draw or imagine; answers `{name, resource}`. Throws ApiError. */
  async makeSession(mode, name = null) {
    const body = JSON.stringify(name === null ? { mode } : { mode, name });
    const headers = { "Content-Type": "application/json" };
    const response = await this.request("api/sessions", { method: "POST", body, headers });
    const made = (await response.json()).name;
    return { name: made, resource: sessionUrl(made) };
  }

  /** Puts a drawing, a Blob, in front of a session; answers `{id}` of the change. Throws ApiError. */
  async putDrawing(name, picture, signal) {
    const headers = { "Content-Type": picture.type };
    const path = new URL("drawing", `${sessionUrl(name)}/`);
    return (await this.request(path, { method: "PUT", body: picture, headers, signal })).json();
  }

  /** Ends what `offer` or `makeSession` made. Works while the page is being closed, and never throws. */
  async remove(resource) {
    try {
      await fetch(resource, { method: "DELETE", headers: this.authorization(), keepalive: true });
    } catch {
      // The server is gone, and what was to be ended with it.
    }
  }

  async request(path, { headers = {}, signal, ...rest } = {}) {
    let sent = this.token;
    for (;;) {
      const response = await this.fetch(new URL(path, BASE), { ...rest, headers, signal });
      if (response.ok) return response;
      const error = await problem(response);
      if (error.status !== 401 || signal?.aborted) throw error;
      // Somebody may have typed another token since; otherwise ask, once for all requests that wait.
      if (this.token === sent && !(await this.newToken(sent !== null))) throw error;
      sent = this.token;
    }
  }

  async fetch(url, { headers, signal, ...rest }) {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), REQUEST_MS);
    const stop = () => timeout.abort();
    signal?.addEventListener("abort", stop);
    try {
      signal?.throwIfAborted();
      return await fetch(url, { ...rest, headers: { ...headers, ...this.authorization() }, signal: timeout.signal });
    } catch {
      signal?.throwIfAborted();
      throw new ApiError(0, `Nothing answers at ${BASE.host}.`);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  }

  authorization() {
    return this.token ? { Authorization: `Bearer ${this.token}` } : {};
  }

  async newToken(again) {
    this.asking ??= this.askToken(again).finally(() => (this.asking = null));
    const token = await this.asking;
    if (!token) return false;
    this.token = token;
    store(TOKEN_KEY, token);
    return true;
  }
}

/** Where the API speaks of a session. */
export function sessionUrl(name) {
  return new URL(`api/sessions/${encodeURIComponent(name)}`, BASE);
}

async function problem(response) {
  const detail = await response
    .json()
    .then((body) => body.detail)
    .catch(() => null);
  const retryAfter = Number.parseInt(response.headers.get("Retry-After"), 10);
  const message = detail ?? `The server answered with ${response.status} and no reason.`;
  return new ApiError(response.status, message, Number.isNaN(retryAfter) ? null : retryAfter);
}

/** `?token=` or `#token=`, kept for this tab and then taken out of the address, which others may see or copy. */
function takeTokenFromAddress() {
  const url = new URL(location.href);
  const fragment = new URLSearchParams(url.hash.slice(1));
  const token = url.searchParams.get("token") ?? fragment.get("token");
  if (!token) return null;
  store(TOKEN_KEY, token);
  url.searchParams.delete("token");
  if (fragment.has("token")) {
    fragment.delete("token");
    url.hash = fragment.toString();
  }
  history.replaceState(null, "", url);
  return token;
}

/** sessionStorage, which a browser may forbid. */
export function store(key, value) {
  try {
    sessionStorage.setItem(key, value);
  } catch {
    // It lives as long as the page then.
  }
}

export function readStored(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}
