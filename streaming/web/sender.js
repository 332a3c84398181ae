// Sends the drawing: one picture on its way at a time, then the newest; what lies between is never sent.

const RETRY_MS = 500;

/**
 * Between `begin` and `end`. Events: `sent` (`detail`: {id, at}, the change's id and when it was sent) and `refused`
 * (`detail`: the ApiError).
 */
export class DrawingSender extends EventTarget {
  /** `snapshot()`: a promise of the newest picture; `put(session, picture, signal)`: of the server's answer. */
  constructor({ snapshot, put }) {
    super();
    this.snapshot = snapshot;
    this.put = put;
    /** The session that is drawn for, its name and its abort signal; null outside one. */
    this.target = null;
    this.isNew = false;
  }

  /** A session that has seen nothing yet. */
  begin(session) {
    this.end();
    this.target = { session, cancel: new AbortController() };
    this.offer();
    this.pump(this.target);
  }

  /** Nothing is sent any more. May be called twice. */
  end() {
    this.target?.cancel.abort();
    this.target = null;
  }

  /** The drawing has changed. */
  offer() {
    this.isNew = true;
    this.wake?.();
  }

  async pump(target) {
    while (this.target === target) {
      if (!this.isNew) {
        await new Promise((resolve) => (this.wake = resolve));
        continue;
      }
      this.isNew = false;
      await this.send(target);
    }
  }

  async send(target) {
    const { session, cancel } = target;
    const at = performance.now();
    try {
      const { id } = await this.put(session, await this.snapshot(), cancel.signal);
      if (this.target === target) this.dispatchEvent(new CustomEvent("sent", { detail: { id, at } }));
    } catch (error) {
      if (this.target !== target) return;
      if (error.status === 0) await this.again();
      else this.dispatchEvent(new CustomEvent("refused", { detail: error }));
    }
  }

  // Nothing answered: the last state must arrive all the same, if the session is still there by then.
  async again() {
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    this.isNew = true;
  }
}
