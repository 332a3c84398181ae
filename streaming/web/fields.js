// The settings in one table: which element is which setting, how each type is read and written, and how those look that
// index.html only names (`data-fields`). Where a field applies stands in index.html: `data-modes`, `data-when`.

import { choiceField, numberField, sliderField, textField } from "./build.js";

const TYPING_MS = 150;
const SLIDING_MS = 100;

const write = (element, value) => (element.value = value);

/** Words: sent once the typing rests. */
const TEXT = { event: "input", wait: () => TYPING_MS, rests: true, make: textField, read: ({ value }) => value, write };

/** A number that is typed; null, and marked as wrong, while it is none or out of its range. */
const NUMBER = {
  event: "input",
  wait: () => TYPING_MS,
  make: numberField,
  read(element) {
    const fits = element.value !== "" && element.validity.valid;
    element.setAttribute("aria-invalid", String(!fits));
    return fits ? element.valueAsNumber : null;
  },
  write,
};

/** One of a list; null while the list is still empty. */
const CHOICE = {
  event: "change",
  wait: () => 0,
  make: choiceField,
  read: ({ selectedIndex, value }) => (selectedIndex < 0 ? null : value),
  write,
};

/** Sent while it slides, a few times a second. */
const SLIDER = {
  event: "input",
  wait: (sinceSent) => Math.max(0, SLIDING_MS - sinceSent),
  make: sliderField,
  read: ({ valueAsNumber }) => valueAsNumber,
  write(element, value) {
    // The API takes more than the page offers.
    if (value > Number(element.max)) element.max = String(Math.ceil(value));
    element.value = value;
  },
};

/** A slider for each kind of control: those that are offered and above 0 are in use. */
const SCALES = {
  event: "input",
  wait: SLIDER.wait,
  read(element) {
    const sliders = [...element.querySelectorAll("input")];
    const used = sliders.filter((slider) => slider.valueAsNumber > 0 && !slider.closest(".field").hidden);
    return Object.fromEntries(used.map((slider) => [slider.dataset.kind, slider.valueAsNumber]));
  },
  write(element, scales) {
    for (const slider of element.querySelectorAll("input")) SLIDER.write(slider, scales[slider.dataset.kind] ?? 0);
  },
};

/** Milliseconds from a list, or whatever else the API has set. */
const MILLISECONDS = {
  ...CHOICE,
  read: ({ selectedIndex, value }) => (selectedIndex < 0 ? null : Number(value)),
  write(element, value) {
    const known = [...element.options].some((option) => option.value === String(value));
    if (!known) element.add(new Option(`${value} ms`, value));
    element.value = value;
  },
};

const SEED = { min: 0, max: 2 ** 32 - 1, step: 1, value: 0, wrong: "A whole number from 0 to 4294967295." };
const WALKS = { none: "Off", seeds: "Seeds", prompts: "Two prompts" };
const DETECTORS = {
  lineart_standard: "Line art, quick: no network",
  lineart: "Line art",
  pidinet: "PidiNet",
  hed: "HED",
};
const ESTIMATORS = { midas: "MiDaS", zoe: "ZoeDepth", leres: "LeReS", given: "Nothing: it is the picture" };

const MS = [75, 100, 150, 200, 300, 500, 1000];
const TARGETS = Object.fromEntries([[0, "Off"], ...MS.map((ms) => [ms, `${ms} ms`])]);
const STILL = { max: 20, step: 0.5, zero: "off" };

const LEG = { min: 0.5, max: 600, step: "any", value: 8, wrong: "From 0.5 to 600." };
const EDGE = { type: SLIDER, max: 1000, step: 1, along: ["canny_low", "canny_high"] };
const LOW = { label: "Weakest edge that continues a line", value: 100 };
const HIGH = { label: "Weakest edge that begins a line", value: 200 };
const PUSHES = { high: { name: "canny_high", bound: Math.max }, low: { name: "canny_low", bound: Math.min } };

/**
 * `name` of the setting, `id` of the element. `wrapped`: the style template goes around it. `own`: each mode has its
 * own value. `along`: what is sent with it, since the server checks them together. `pushes`: a field that can't be
 * passed. With a `label`: the element is made from the entry.
 */
export const FIELDS = [
  { name: "prompt", id: "prompt", type: TEXT, wrapped: true },
  { name: "prompt_b", id: "prompt-b", type: TEXT, wrapped: true, label: "Second prompt" },
  { name: "blend", id: "blend", type: SLIDER, label: "From the first prompt to the second" },
  { name: "seed", id: "seed", type: NUMBER },
  { name: "seed_b", id: "seed-b", type: NUMBER, label: "Second seed", ...SEED },
  { name: "seed_blend", id: "seed-blend", type: SLIDER, label: "From the first seed to the second" },
  { name: "walk", id: "walk", type: CHOICE, label: "Endless", choices: WALKS },
  { name: "walk_seconds", id: "walk-seconds", type: NUMBER, label: "Seconds each", when: "walking", ...LEG },
  { name: "conditioning_scale", id: "strength", type: SLIDER, own: true },
  { name: "control", id: "control", type: CHOICE, along: ["extra_controls"] },
  { name: "extra_controls", id: "extra-controls", type: SCALES },
  { name: "init_strength", id: "init-strength", type: SLIDER, label: "Keep the camera's colours", zero: "off" },
  { name: "steadiness", id: "steadiness", type: SLIDER, label: "Steadiness", value: 0.9, zero: "off" },
  { name: "lora", id: "lora", type: CHOICE, label: "LoRA" },
  { name: "lora_scale", id: "lora-scale", type: SLIDER, label: "Its strength", max: 2, value: 1, when: "lora" },
  { name: "canny_low", id: "canny-low", ...EDGE, ...LOW, pushes: PUSHES.high },
  { name: "canny_high", id: "canny-high", ...EDGE, ...HIGH, pushes: PUSHES.low },
  { name: "sketch_detector", id: "sketch-detector", type: CHOICE, label: "What finds the lines", choices: DETECTORS },
  { name: "depth_estimator", id: "depth-estimator", type: CHOICE, label: "What tells the depth", choices: ESTIMATORS },
  { name: "depth_every", id: "depth-every", type: SLIDER, label: "At every n-th picture", min: 1, max: 60, step: 1 },
  { name: "depth_smoothing", id: "depth-smoothing", type: SLIDER, label: "Smoothing of the range", max: 0.99 },
  { name: "latency_target", id: "latency-target", type: MILLISECONDS, label: "Keep the latency under", choices: TARGETS },
  { name: "skip_similar", id: "skip-similar", type: SLIDER, label: "Skip pictures that change less than", ...STILL },
];

/** What a session of each mode starts from where that isn't the model's default. */
export const STARTS = {
  camera: {},
  draw: { control: "sketch", conditioning_scale: 0.8 },
  imagine: { control: "none" },
};

/** The controls in words. */
export const CONTROLS = { canny: "Canny edges", sketch: "Sketch", depth: "Depth", none: "Text alone" };

/** A slider for one more kind of control. */
export function extraField(kind, index) {
  const label = `Also ${(CONTROLS[kind] ?? kind).toLowerCase()}`;
  return sliderField({ id: `extra-${index}`, label, zero: "off", data: { kind } });
}
