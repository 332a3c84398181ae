// The drawing desk: mouse, pen or finger, the tools under the paper, and the keys.

import { isTyping } from "./keys.js";
import { Sketch } from "./sketch.js";

const PEN_ERASER = 32; // Pointer Events, section 4.1.1.1: the bit of `buttons` for a pen's other end
const LARGEST_CURSOR = 128;

const BUTTONS = [
  ["brush", "Brush", "Brush (B)", "M4 20l1-5L16 4l4 4L9 19zM13 7l4 4"],
  ["eraser", "Eraser", "Eraser (E)", "M8 20l-5-5L14 4l6 6-10 10zM8 10l6 6M6 20h15"],
  ["undo", "Undo", "Undo (Ctrl+Z)", "M8 5L4 9l4 4M4 9h10a5 5 0 0 1 0 10H8"],
  ["redo", "Redo", "Redo (Ctrl+Shift+Z)", "M16 5l4 4-4 4M20 9H10a5 5 0 0 0 0 10h6"],
  ["clear", "Clear the drawing", "Clear", "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10 11v5M14 11v5"],
  ["upload", "Upload a picture as the drawing", "Upload", "M12 16V4M7 9l5-5 5 5M4 20h16"],
  ["download", "Download the drawing", "Download (PNG)", "M12 4v12M7 11l5 5 5-5M4 20h16"],
];

/** Event `change`: the drawing looks different; `refused` (`detail`: a sentence): a file that isn't a picture. */
export class DrawingDesk extends EventTarget {
  constructor(root) {
    super();
    const find = (id) => root.querySelector(`#${id}`);
    this.canvas = find("sketch");
    this.paper = this.canvas.closest(".frame");
    this.size = find("brush-size");
    this.file = find("upload-file");
    this.buttons = makeButtons(this.size.closest(".tools"));
    this.erasing = false;
    this.pointer = null;
    this.sketch = new Sketch(this.canvas);
    this.sketch.addEventListener("change", () => this.changed());
    this.listen();
    this.choose(false);
    this.changed();
  }

  /** The size of the model's pictures. */
  resize(width, height) {
    if (this.canvas.width !== width || this.canvas.height !== height) this.sketch.resize(width, height);
    this.showCursor();
  }

  /** The brush, or the eraser. */
  choose(erasing) {
    this.erasing = erasing;
    this.buttons.brush.ariaPressed = String(!erasing);
    this.buttons.eraser.ariaPressed = String(erasing);
  }

  listen() {
    const { buttons, canvas, sketch } = this;
    const actions = {
      brush: () => this.choose(false),
      eraser: () => this.choose(true),
      undo: () => sketch.undo(),
      redo: () => sketch.redo(),
      clear: () => sketch.clear(),
      upload: () => this.file.click(),
      download: () => this.download(),
    };
    for (const [name, action] of Object.entries(actions)) buttons[name].addEventListener("click", action);
    this.file.addEventListener("change", () => this.upload());
    this.size.addEventListener("input", () => this.showCursor());
    new ResizeObserver(() => this.showCursor()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const type of ["pointerup", "pointercancel", "lostpointercapture"])
      canvas.addEventListener(type, (event) => this.up(event));
    addEventListener("keydown", (event) => this.undoKey(event));
  }

  // Strokes.

  down(event) {
    if (this.pointer !== null || (event.button !== 0 && !(event.buttons & PEN_ERASER))) return;
    event.preventDefault();
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId); // a stroke that leaves the paper goes on
    const erase = this.erasing || Boolean(event.buttons & PEN_ERASER);
    this.sketch.begin(this.at(event), { size: this.size.valueAsNumber, erase });
  }

  move(event) {
    if (event.pointerId !== this.pointer) return;
    // Browsers gather several moves into one event; all of them make the line smooth.
    const moves = event.getCoalescedEvents?.() ?? [];
    this.sketch.extend((moves.length > 0 ? moves : [event]).map((each) => this.at(each)));
  }

  up(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.sketch.end();
  }

  /** Where a pointer is, in the canvas's own pixels, however large the page shows it. */
  at({ clientX, clientY }) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return { x: ((clientX - left) * this.canvas.width) / width, y: ((clientY - top) * this.canvas.height) / height };
  }

  undoKey(event) {
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || event.altKey || !"zy".includes(key)) return;
    if (isTyping(event.target) || this.canvas.clientWidth === 0) return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) this.sketch.redo();
    else this.sketch.undo();
  }

  // Files.

  async upload() {
    const [file] = this.file.files;
    this.file.value = ""; // the same one again is a change too
    if (!file) return;
    const image = new Image();
    image.src = URL.createObjectURL(file);
    try {
      await image.decode();
      const { naturalWidth: width, naturalHeight: height } = image;
      this.sketch.load(image, width || this.canvas.width, height || this.canvas.height);
    } catch {
      const detail = `“${file.name}” can't be read as a picture; take a PNG, JPEG, WebP or SVG.`;
      this.dispatchEvent(new CustomEvent("refused", { detail }));
    } finally {
      URL.revokeObjectURL(image.src);
    }
  }

  async download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await this.sketch.toBlob());
    link.download = "drawing.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // What shows.

  changed() {
    this.buttons.undo.disabled = !this.sketch.canUndo;
    this.buttons.redo.disabled = !this.sketch.canRedo;
    this.buttons.clear.disabled = this.sketch.isBlank;
    this.paper.toggleAttribute("data-blank", this.sketch.isBlank && !this.sketch.stroke);
    this.dispatchEvent(new Event("change"));
  }

  /** The cursor is a ring as large as the brush, dark and light so that it shows on anything. */
  showCursor() {
    const { size, canvas } = this;
    size.closest("label").querySelector("output").value = size.value;
    size.style.setProperty("--share", `${(100 * (size.value - size.min)) / (size.max - size.min)}%`);
    const width = Math.min((size.valueAsNumber * canvas.clientWidth) / canvas.width || 0, LARGEST_CURSOR - 4);
    const side = Math.ceil(width) + 4;
    const ring = (radius, colour) =>
      `<circle cx="${side / 2}" cy="${side / 2}" r="${Math.max(radius, 1)}" fill="none" stroke="${colour}"/>`;
    const rings = ring(width / 2, "#000") + ring(width / 2 + 1, "#fff");
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}">${rings}</svg>`;
    const middle = Math.round(side / 2);
    canvas.style.cursor = `url("data:image/svg+xml,${encodeURIComponent(svg)}") ${middle} ${middle}, crosshair`;
  }
}

/** Before and after the size slider, which stands in the page. */
function makeButtons(tools) {
  const slider = tools.querySelector(".size");
  const made = BUTTONS.map(([id, label, title, path]) => {
    const button = Object.assign(document.createElement("button"), { id, title, type: "button", className: "icon" });
    button.ariaLabel = label;
    button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${path}"/></svg>`;
    return button;
  });
  slider.before(...made.slice(0, 2));
  slider.after(...made.slice(2));
  return Object.fromEntries(made.map((button) => [button.id, button]));
}
