// The settings form: fields to settings and back, with changes gathered so that typing doesn't flood the server.

const TYPING_MS = 150;
const SLIDING_MS = 100;
const MAX_SEED = 2 ** 32 - 1;

/** Event `patch` (`detail`: the changed settings) once a change is worth sending. */
export class SettingsForm extends EventTarget {
  constructor(root) {
    super();
    const field = (id) => root.querySelector(`#${id}`);
    this.prompt = field("prompt");
    this.strength = field("strength");
    this.control = field("control");
    this.seed = field("seed");
    this.low = field("canny-low");
    this.high = field("canny-high");
    this.pending = {};
    this.timer = null;
    this.sentAt = 0;
    /** What the person has chosen, and defaults that come late must not undo. */
    this.touched = new Set();
    this.listen(field("random"));
  }

  /** All settings as the fields show them; a seed that is none is left out. */
  values() {
    const values = {
      prompt: this.prompt.value,
      conditioning_scale: this.strength.valueAsNumber,
      control: this.control.value,
      canny_low: this.low.valueAsNumber,
      canny_high: this.high.valueAsNumber,
    };
    if (!values.control) delete values.control;
    const seed = this.readSeed();
    return seed === null ? values : { ...values, seed };
  }

  /** Shows settings; the field that the person is at is left alone. */
  show(settings) {
    const fields = {
      prompt: this.prompt,
      conditioning_scale: this.strength,
      control: this.control,
      seed: this.seed,
      canny_low: this.low,
      canny_high: this.high,
    };
    for (const [name, field] of Object.entries(fields)) {
      const value = settings[name];
      if (value === undefined || field === document.activeElement || field.value === String(value)) continue;
      if (name === "conditioning_scale" && value > Number(field.max)) field.max = "2";
      field.value = value;
    }
    this.showNumbers();
  }

  showDefaults(settings) {
    this.show(Object.fromEntries(Object.entries(settings).filter(([name]) => !this.touched.has(name))));
  }

  setPrompt(prompt) {
    this.prompt.value = prompt;
    this.change({ prompt }, 0);
  }

  randomSeed() {
    const [seed] = crypto.getRandomValues(new Uint32Array(1));
    this.seed.value = seed;
    this.readSeed();
    this.change({ seed }, 0);
  }

  get isPending() {
    return this.timer !== null;
  }

  /** Sends what is gathered, now. */
  flush() {
    clearTimeout(this.timer);
    this.timer = null;
    if (Object.keys(this.pending).length === 0) return;
    const patch = this.pending;
    this.pending = {};
    this.sentAt = performance.now();
    this.dispatchEvent(new CustomEvent("patch", { detail: patch }));
  }

  listen(random) {
    this.prompt.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = null;
      this.change({ prompt: this.prompt.value }, TYPING_MS);
    });
    this.prompt.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.flush();
    });
    this.strength.addEventListener("input", () => this.slide({ conditioning_scale: this.strength.valueAsNumber }));
    this.low.addEventListener("input", () => this.slideEdges(this.low));
    this.high.addEventListener("input", () => this.slideEdges(this.high));
    this.control.addEventListener("change", () => this.change({ control: this.control.value }, 0));
    this.seed.addEventListener("input", () => {
      const seed = this.readSeed();
      if (seed !== null) this.change({ seed }, TYPING_MS);
    });
    random.addEventListener("click", () => this.randomSeed());
  }

  slide(patch) {
    this.showNumbers();
    this.change(patch, Math.max(0, SLIDING_MS - (performance.now() - this.sentAt)));
  }

  // The low threshold can't pass the high one: the one that is moved takes the other along.
  slideEdges(moved) {
    const [low, high] = [this.low.valueAsNumber, this.high.valueAsNumber];
    if (low > high) (moved === this.low ? this.high : this.low).value = moved.value;
    this.slide({ canny_low: this.low.valueAsNumber, canny_high: this.high.valueAsNumber });
  }

  showNumbers() {
    for (const slider of [this.strength, this.low, this.high]) {
      const digits = slider === this.strength ? 2 : 0;
      slider.parentElement.querySelector("output").value = slider.valueAsNumber.toFixed(digits);
      const share = (slider.valueAsNumber - slider.min) / (slider.max - slider.min);
      slider.style.setProperty("--share", `${100 * share}%`);
    }
  }

  readSeed() {
    const seed = this.seed.value === "" ? Number.NaN : Number(this.seed.value);
    const fits = Number.isInteger(seed) && seed >= 0 && seed <= MAX_SEED;
    this.seed.setAttribute("aria-invalid", String(!fits));
    return fits ? seed : null;
  }

  change(patch, delay) {
    Object.assign(this.pending, patch);
    for (const name of Object.keys(patch)) this.touched.add(name);
    this.dispatchEvent(new Event("edit"));
    if (delay === 0) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), delay);
  }
}
