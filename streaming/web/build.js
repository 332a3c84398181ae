// Makes the fields that index.html only names (`data-fields`) from their entries in the table of settings.

/** A `.field` with its label: `label`, `id`, and for a slider `min`, `max`, `step`, `zero` (the word for 0). */
export function sliderField({ id, label, min = 0, max = 1, step = 0.01, value = 0, zero, data = {} }) {
  const slider = make("input", { type: "range", id, min, max, step });
  slider.value = String(value);
  Object.assign(slider.dataset, data, zero && { zero });
  return fieldOf("field slider", id, label, make("output"), slider);
}

/** `choices`: from value to words. */
export function choiceField({ id, label, choices = {} }) {
  const select = make("select", { id });
  select.append(...Object.entries(choices).map(([value, words]) => new Option(words, value)));
  return fieldOf("field", id, label, select);
}

export function numberField({ id, label, min, max, step, value, wrong }) {
  const input = make("input", { id, type: "number", inputMode: "decimal", min, max, step, value });
  const hint = make("small", { id: `${id}-hint`, className: "when-invalid", textContent: wrong });
  input.setAttribute("aria-describedby", hint.id);
  return fieldOf("field", id, label, input, hint);
}

export function textField({ id, label }) {
  const words = make("textarea", { id, rows: 2, maxLength: 500, spellcheck: false, enterKeyHint: "send" });
  return fieldOf("field", id, label, words);
}

function fieldOf(className, id, label, ...parts) {
  const field = make("div", { className });
  field.append(make("label", { htmlFor: id, textContent: label }), ...parts);
  return field;
}

function make(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}
