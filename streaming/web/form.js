// The settings form: fields to settings and back, with changes gathered so that typing doesn't flood the server.

import { CONTROLS, extraField, FIELDS, STARTS } from "./fields.js";
import { Template } from "./templates.js";
import { Thing } from "./things.js";

/** Event `patch` (`detail`: the changed settings) once a change is worth sending; `edit` at every change. */
export class SettingsForm extends EventTarget {
  constructor(root) {
    super();
    this.root = root;
    this.mode = "camera";
    /** See GET /api/about; empty until the server has told. */
    this.about = {};
    makeFields(root);
    const withElement = (field) => ({ ...field, element: root.querySelector(`#${field.id}`) });
    this.fields = new Map(FIELDS.map((field) => [field.name, withElement(field)]));
    this.prompt = this.fields.get("prompt").element;
    this.template = new Template(root.querySelector("#template"));
    const [thing, things, another] = ["thing", "things", "another"].map((id) => root.querySelector(`#${id}`));
    this.thing = new Thing(thing, things, another);
    this.pending = {};
    this.timer = null;
    this.sentAt = 0;
    /** What the person has chosen, and defaults that come late must not undo. */
    this.touched = new Set();
    /** The values that each mode has of its own. */
    this.kept = { camera: {}, draw: {}, imagine: {} };
    this.listen(root.querySelector("#random"));
  }

  /** All settings of this mode as the fields show them; one that isn't valid is left out. */
  values() {
    return this.read([...this.fields.keys()]);
  }

  /** What a new session of this mode must be told: what differs from that it starts from. Empty until that is known. */
  chosen() {
    const defaults = this.defaults();
    const differs = ([name, value]) => name in defaults && !same(value, defaults[name]);
    return Object.fromEntries(Object.entries(this.values()).filter(differs));
  }

  defaults() {
    return this.about.defaults ? { ...this.about.defaults, ...STARTS[this.mode] } : {};
  }

  /** Shows settings; the field that the person is at is left alone. */
  show(settings) {
    for (const field of this.fields.values())
      if (this.isHere(field.element)) this.showOne(field, settings[field.name]);
    this.arrange();
  }

  /** What the server runs: fills the lists and shows what a session starts from. */
  introduce(about) {
    this.about = about;
    const controls = about.controls ?? [];
    this.fill("control", [...controls, "none"].map((kind) => new Option(CONTROLS[kind] ?? kind, kind)));
    this.fill("lora", [new Option("None", ""), ...(about.loras ?? []).map((name) => new Option(name, name))]);
    this.fill("extra_controls", controls.map(extraField));
    for (const field of this.fields.values()) {
      if (this.touched.has(field.name)) continue;
      const defaults = this.isHere(field.element) ? this.defaults() : about.defaults;
      this.showOne(field, defaults[field.name]);
    }
    this.thing.fill(about.subjects ?? []); // after the defaults, whose prompt has no thing in it
    this.arrange();
  }

  /** Another mode of the page: some fields go, others come. */
  enter(mode) {
    this.flush();
    const own = [...this.fields.values()].filter((field) => field.own);
    // Until the server has told, a field shows nothing worth keeping.
    if (this.about.defaults) for (const field of own) this.kept[this.mode][field.name] = this.valueOf(field);
    this.mode = mode;
    const values = { ...STARTS[mode], ...this.defaults(), ...this.kept[mode] };
    for (const field of own) if (field.name in values) this.write(field, values[field.name]);
    this.arrange();
  }

  setPrompt(prompt) {
    this.prompt.value = prompt;
    this.change(this.read(["prompt"]), 0);
  }

  randomSeed() {
    const [seed] = crypto.getRandomValues(new Uint32Array(1));
    this.fields.get("seed").element.value = seed;
    this.change(this.read(["seed"]), 0);
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

  // Fields.

  isHere(element) {
    const place = element.closest("[data-modes]");
    return !place || place.dataset.modes.split(" ").includes(this.mode);
  }

  read(names) {
    const fields = names.map((name) => this.fields.get(name)).filter(({ element }) => this.isHere(element));
    const values = fields.map((field) => [field.name, this.valueOf(field)]);
    return Object.fromEntries(values.filter(([, value]) => value !== null));
  }

  valueOf({ element, type, name, wrapped }) {
    const value = type.read(element);
    // A second prompt that is empty is none at all.
    if (!wrapped || (name !== "prompt" && !value.trim())) return value;
    return this.wrappers().reduce((words, wrapper) => wrapper.wrap(words), value);
  }

  showOne(field, value) {
    if (value === undefined || field.element.contains(document.activeElement)) return;
    if (!same(this.valueOf(field), value)) this.write(field, value);
  }

  write({ element, type, wrapped }, value) {
    const wrappers = wrapped ? this.wrappers().reverse() : [];
    type.write(
      element,
      wrappers.reduce((words, wrapper) => wrapper.unwrap(words), value),
    );
  }

  /** What goes around a prompt in this mode, from the inside out. */
  wrappers() {
    const here = [
      [this.template, this.template.select],
      [this.thing, this.thing.input],
    ];
    return here.filter(([, element]) => this.isHere(element)).map(([wrapper]) => wrapper);
  }

  fill(name, children) {
    const field = this.fields.get(name);
    const before = this.touched.has(name) ? this.valueOf(field) : null;
    field.element.replaceChildren(...children);
    if (before !== null) this.write(field, before);
  }

  // Changes.

  listen(random) {
    for (const field of this.fields.values()) {
      field.element.addEventListener(field.type.event, () => this.changed(field));
      if (field.type.rests) field.element.addEventListener("keydown", (event) => this.entered(event));
    }
    const worded = () => this.change(this.read(["prompt", "prompt_b"]), 0);
    this.template.select.addEventListener("change", worded);
    this.thing.addEventListener("pick", worded);
    random.addEventListener("click", () => this.randomSeed());
  }

  entered(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.flush();
  }

  changed(field) {
    const { name, type, along = [], pushes } = field;
    if (pushes) this.push(field, pushes);
    this.arrange();
    const patch = this.read([name, ...along]);
    if (!(name in patch)) return;
    if (type.rests) {
      clearTimeout(this.timer);
      this.timer = null;
    }
    this.change(patch, type.wait(performance.now() - this.sentAt));
  }

  // The low threshold can't pass the high one: the one that is moved takes the other along.
  push(field, { name, bound }) {
    const other = this.fields.get(name);
    this.write(other, bound(this.valueOf(other), this.valueOf(field)));
  }

  change(patch, delay) {
    Object.assign(this.pending, patch);
    for (const name of Object.keys(patch)) this.touched.add(name);
    this.dispatchEvent(new Event("edit"));
    if (delay === 0) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), delay);
  }

  // What shows.

  /**
   * Hides what does nothing now. `data-when` names what must be so: a kind of map in use (`canny`, `sketch`, `depth`),
   * `mapped` (any), `several` (the model has more than one), `loras` (it has some), `lora` (one is chosen), `things`
   * (it knows some by name), `walking`.
   */
  arrange() {
    // Until the server has told, what is most likely.
    const { control = "canny", ...values } = { ...this.values(), ...STARTS[this.mode] };
    for (const slider of this.root.querySelectorAll("[data-kind]"))
      slider.closest(".field").hidden = control === "none" || control === slider.dataset.kind;
    const { controls = [], loras = [], subjects = [] } = this.about;
    const { extra_controls = {} } = this.values();
    const mapped = control !== "none";
    const facts = {
      [control]: true,
      ...extra_controls,
      mapped,
      several: mapped && controls.length > 1,
      loras: loras.length > 0,
      things: subjects.length > 0,
      lora: values.lora,
      walking: values.walk && values.walk !== "none",
    };
    for (const element of this.root.querySelectorAll("[data-when]")) element.hidden = !facts[element.dataset.when];
    this.showNumbers();
  }

  showNumbers() {
    for (const slider of this.root.querySelectorAll(".field.slider input")) {
      const { valueAsNumber: value, min, max, step, dataset } = slider;
      const digits = step.split(".")[1]?.length ?? 0;
      const shown = value === 0 && dataset.zero ? dataset.zero : value.toFixed(digits);
      slider.closest(".field").querySelector("output").value = shown;
      slider.style.setProperty("--share", `${(100 * (value - min)) / (max - min)}%`);
    }
  }
}

/** Those that the page only names, where it names them. */
function makeFields(root) {
  const table = new Map(FIELDS.map((field) => [field.name, field]));
  for (const place of root.querySelectorAll("[data-fields]")) {
    for (const name of place.dataset.fields.split(" ")) {
      const { type, when, ...look } = table.get(name);
      const field = type.make(look);
      if (when) field.dataset.when = when;
      place.append(field);
    }
  }
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
