// The drawing: black strokes on white, with undo that brings every pixel back as it was.

const INK = "#000";
const PAPER = "#fff";
const MOST_STEPS = 60;

/**
 * A canvas to draw on. Points are `{x, y}` in the canvas's own pixels. Event `change` whenever it looks different.
 *
 * What is finished is kept on a second canvas. A stroke under way is drawn whole, over that, at each move: one path has
 * clean edges where pieces would overlap. A step of undo is the rectangle that it changed, before and after.
 */
export class Sketch extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.finished = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    this.stroke = null;
    this.resize(canvas.width, canvas.height);
  }

  /** Another size, with what is drawn on it scaled; nothing can be undone past it. */
  resize(width, height) {
    const before = this.isBlank === false && document.createElement("canvas");
    if (before) {
      Object.assign(before, { width: this.canvas.width, height: this.canvas.height });
      before.getContext("2d").drawImage(this.canvas, 0, 0);
    }
    for (const { canvas } of [this.context, this.finished]) Object.assign(canvas, { width, height });
    this.stroke = null;
    this.steps = [];
    this.undone = [];
    this.isBlank = !before;
    this.fill();
    if (before) this.context.drawImage(before, 0, 0, width, height);
    this.finished.drawImage(this.canvas, 0, 0);
    this.changed();
  }

  get canUndo() {
    return this.steps.length > 0;
  }

  get canRedo() {
    return this.undone.length > 0;
  }

  /** Begin a stroke; `size` is its width in the canvas's own pixels. */
  begin(point, { size, erase = false }) {
    this.end();
    this.stroke = new Stroke(point, size, erase ? PAPER : INK);
    this.stroke.paint(this.context);
    this.changed();
  }

  /** Go on with it; does nothing when there is none. */
  extend(points) {
    if (!this.stroke) return;
    for (const point of points) this.stroke.add(point);
    this.context.drawImage(this.finished.canvas, 0, 0);
    this.stroke.paint(this.context);
    this.changed();
  }

  end() {
    if (!this.stroke) return;
    const box = this.stroke.box(this.canvas.width, this.canvas.height);
    this.stroke = null;
    this.finish(box, false);
  }

  clear() {
    this.end();
    if (this.isBlank) return;
    this.fill();
    this.finish(this.whole(), true);
  }

  /** Puts a picture in place of the drawing, as large as it fits, on white. */
  load(image, width, height) {
    this.end();
    const scale = Math.min(this.canvas.width / width, this.canvas.height / height);
    const [wide, high] = [width * scale, height * scale];
    this.fill();
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(image, (this.canvas.width - wide) / 2, (this.canvas.height - high) / 2, wide, high);
    this.finish(this.whole(), false);
  }

  undo() {
    this.travel(this.steps, this.undone, ({ before, wasBlank }) => [before, wasBlank]);
  }

  redo() {
    this.travel(this.undone, this.steps, ({ after, isBlank }) => [after, isBlank]);
  }

  /** The drawing as it is now, also in the middle of a stroke: a PNG. */
  toBlob() {
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }

  // Inside.

  fill() {
    this.context.fillStyle = PAPER;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  whole() {
    return [0, 0, this.canvas.width, this.canvas.height];
  }

  /** What is on the canvas is a step of its own; the box is where it differs from before. */
  finish(box, isBlank) {
    const [x, y, width, height] = box;
    if (width > 0 && height > 0) {
      const [before, after] = [this.finished, this.context].map((each) => each.getImageData(x, y, width, height));
      this.finished.putImageData(after, x, y);
      this.steps.push({ x, y, before, after, wasBlank: this.isBlank, isBlank });
      if (this.steps.length > MOST_STEPS) this.steps.shift();
      this.undone = [];
      this.isBlank = isBlank;
    }
    this.changed();
  }

  travel(from, to, pick) {
    if (this.stroke || from.length === 0) return;
    const step = from.pop();
    to.push(step);
    const [pixels, isBlank] = pick(step);
    for (const each of [this.context, this.finished]) each.putImageData(pixels, step.x, step.y);
    this.isBlank = isBlank;
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** One stroke: a curve through the middles between its points, which are what bends it. */
class Stroke {
  constructor(point, size, colour) {
    this.size = size;
    this.colour = colour;
    this.path = new Path2D();
    this.path.moveTo(point.x, point.y);
    this.first = this.last = point;
    this.corners = [point.x, point.y, point.x, point.y];
    this.isDot = true;
  }

  add(point) {
    const { last } = this;
    if (point.x === last.x && point.y === last.y) return;
    this.path.quadraticCurveTo(last.x, last.y, (last.x + point.x) / 2, (last.y + point.y) / 2);
    const [left, top, right, bottom] = this.corners;
    this.corners = [
      Math.min(left, point.x),
      Math.min(top, point.y),
      Math.max(right, point.x),
      Math.max(bottom, point.y),
    ];
    this.last = point;
    this.isDot = false;
  }

  paint(context) {
    if (this.isDot) return this.paintDot(context);
    const path = new Path2D(this.path);
    path.lineTo(this.last.x, this.last.y);
    Object.assign(context, { strokeStyle: this.colour, lineWidth: this.size, lineCap: "round", lineJoin: "round" });
    context.stroke(path);
  }

  paintDot(context) {
    context.beginPath();
    context.arc(this.first.x, this.first.y, this.size / 2, 0, 2 * Math.PI);
    context.fillStyle = this.colour;
    context.fill();
  }

  /** `[x, y, width, height]` of the whole pixels that it can have touched on a canvas of this size. */
  box(width, height) {
    const margin = this.size / 2 + 1;
    const within = (value, most) => Math.min(Math.max(value, 0), most);
    const left = within(Math.floor(this.corners[0] - margin), width);
    const top = within(Math.floor(this.corners[1] - margin), height);
    const right = within(Math.ceil(this.corners[2] + margin), width);
    const bottom = within(Math.ceil(this.corners[3] + margin), height);
    return [left, top, right - left, bottom - top];
  }
}
