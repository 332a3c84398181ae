// Changes on their way into a picture: which was seen last, in which picture, and how long that took.

export class Changes {
  constructor(element) {
    this.element = element;
    this.forget();
  }

  forget() {
    /** Ids of changes that were answered and not yet seen: to the time they were asked for. */
    this.waiting = new Map();
    /** `{id, seq}` of the last one that was seen; `lastAt` is when that was. */
    this.last = null;
    this.lastAt = 0;
  }

  /** A change was asked for at `since`. Over HTTP its answer may come when the picture has been seen already. */
  expect(id, since) {
    if (this.last?.id === id) this.show(since);
    else if (!(this.last?.id > id)) this.waiting.set(id, since);
  }

  seen({ id, seq }) {
    this.last = { id, seq };
    this.lastAt = performance.now();
    this.show(this.waiting.get(id));
    for (const known of this.waiting.keys()) if (known <= id) this.waiting.delete(known);
  }

  show(since) {
    const { id, seq } = this.last;
    const delay = since === undefined ? "" : `, after ${Math.round(this.lastAt - since)} ms`;
    Object.assign(this.element.dataset, { id, seq });
    this.element.textContent = `Change ${id}: picture ${seq}${delay}`;
  }
}
