// The style presets: a row of cards for people, the select `#preset` behind it for scripts.

// What the little portrait on a card is coloured with, found by a word of the style's name:
// ground, sun, leaf, shirt, skin, hair, line.
const PALETTES = {
  ink: ["#f6f1e4", "#f6f1e4", "#f6f1e4", "#16130f", "#f6f1e4", "#16130f", "#16130f"],
  neon: ["#0a0416", "#0a0416", "#0a0416", "#0a0416", "#0a0416", "#0a0416", "#ff4fd8"],
  blueprint: ["#17408f", "#17408f", "#1b4a9f", "#17408f", "#1b4a9f", "#17408f", "#eaf2ff"],
  chalk: ["#263a2f", "#263a2f", "#2f4739", "#2f4739", "#263a2f", "#33493d", "#e9ece4"],
  glass: ["#1fa7a0", "#f2b632", "#3c9a3f", "#c4302b", "#f0c9a0", "#2c4fa3", "#0e1113"],
  gold: ["#0d0b09", "#0d0b09", "#17120b", "#17120b", "#0d0b09", "#1f180d", "#d9a93f"],
  pencil: ["#f2f0ea", "#f2f0ea", "#dedbd3", "#c4c1b9", "#ece9e1", "#8f8c86", "#6b6863"],
  comic: ["#ffd400", "#ff4d6d", "#00a8e8", "#ff2e63", "#ffe7d1", "#1b1b1e", "#111111"],
  water: ["#dcebf0", "#f8d9a0", "#a9cfb4", "#e59a8f", "#f8e0cc", "#8f9dc0", "#5a6d8a50"],
  oil: ["#7d8f6a", "#e0a93f", "#46643f", "#8c3a2b", "#d9a27a", "#3a2a20", "#2a1d1560"],
  toy: ["#8fd0f5", "#ffcf3f", "#5cc46a", "#f2574b", "#ffd9b0", "#6b3f2a", "#ffffff30"],
  pixel: ["#3b5dc9", "#ffcd75", "#38b764", "#b13e53", "#f4c39a", "#333c57", "#1a1c2c"],
};
const PARTS = ["ground", "sun", "leaf", "shirt", "skin", "hair", "line"];

/** Event `pick` (`detail`: {name, prompt}). */
export class StylePicker extends EventTarget {
  constructor(select, cards) {
    super();
    this.select = select;
    this.cards = cards;
    this.styles = [];
    select.addEventListener("change", () => select.value && this.pick(Number(select.value)));
    cards.addEventListener("change", ({ target }) => this.pick(Number(target.value)));
  }

  fill(styles) {
    this.styles = styles;
    const own = new Option("Your own words", "");
    this.select.replaceChildren(own, ...styles.map(({ name }, index) => new Option(name, String(index))));
    this.cards.style.setProperty("--count", styles.length);
    this.cards.replaceChildren(...styles.map((style, index) => card(style, index)));
  }

  /** Marks the style whose prompt this is, if there is one, and colours the page's drawing like it. */
  show(prompt) {
    const index = this.styles.findIndex((style) => style.prompt === prompt.trim());
    this.select.value = index < 0 ? "" : String(index);
    for (const radio of this.cards.querySelectorAll("input")) radio.checked = Number(radio.value) === index;
    const { name } = this.styles[index] ?? { name: prompt };
    paint(document.documentElement, name);
  }

  pick(index) {
    const style = this.styles[index];
    if (style) this.dispatchEvent(new CustomEvent("pick", { detail: style }));
  }
}

function card({ name, prompt }, index) {
  const label = document.createElement("label");
  label.className = "card";
  label.title = index < 9 ? `${prompt} (key ${index + 1})` : prompt;
  const radio = Object.assign(document.createElement("input"), { type: "radio", name: "style", value: String(index) });
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawing.setAttribute("viewBox", "0 0 100 100");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#portrait");
  drawing.append(use);
  paint(drawing, name);
  label.append(radio, drawing, Object.assign(document.createElement("span"), { textContent: name }));
  return label;
}

function paint(element, name) {
  const words = name.toLowerCase();
  const known = Object.keys(PALETTES).find((word) => words.includes(word));
  const colours = known ? PALETTES[known] : invented(words);
  PARTS.forEach((part, index) => element.style.setProperty(`--p-${part}`, colours[index]));
}

// A style nobody drew colours for still looks like itself every time.
function invented(words) {
  let hash = 0;
  for (const letter of words) hash = (hash * 31 + letter.codePointAt(0)) % 360;
  const tone = (turn, saturation, lightness) => `hsl(${(hash + turn) % 360} ${saturation}% ${lightness}%)`;
  return [
    tone(0, 30, 78),
    tone(40, 60, 70),
    tone(120, 30, 45),
    tone(180, 45, 45),
    tone(20, 45, 84),
    tone(200, 35, 25),
    "#14191b",
  ];
}
