// The thing to imagine: one that the model knows by name, put before the words of a style.

/** A text field with suggestions and a button that picks another thing. Event `pick` once there is a new one. */
export class Thing extends EventTarget {
  constructor(input, list, another) {
    super();
    this.input = input;
    this.list = list;
    this.known = [];
    input.addEventListener("change", () => this.dispatchEvent(new Event("pick")));
    another.addEventListener("click", () => this.surprise());
  }

  /** The names that the model knows; the first one is there at first, unless a person was quicker. */
  fill(known) {
    this.list.replaceChildren(...known.map((name) => new Option(name)));
    if (!this.input.value && this.known.length === 0) this.input.value = known[0] ?? "";
    this.known = known;
  }

  surprise() {
    const others = this.known.filter((name) => name !== this.input.value);
    this.input.value = others[Math.floor(Math.random() * others.length)] ?? "";
    this.dispatchEvent(new Event("pick"));
  }

  /** The prompt that the model gets. */
  wrap(prompt) {
    return [this.input.value.trim() || null, prompt.trim() || null].filter(Boolean).join(", ");
  }

  /** The rest of a prompt. One that doesn't begin with the thing came from elsewhere: no thing then. */
  unwrap(prompt) {
    const thing = this.input.value.trim();
    if (!thing) return prompt;
    if (prompt === thing) return "";
    if (prompt.startsWith(`${thing}, `)) return prompt.slice(thing.length + 2);
    this.input.value = "";
    return prompt;
  }
}
