// The row of numbers under the pictures, and what the governor does about them.

/** Shows a row of GET /api/sessions; what it doesn't know is a dash. */
export function showStats(root, row) {
  const { fps_in, fps_out, latency_ms, model_ms, frames_dropped, frames_skipped, condition_age_ms } = row;
  const numbers = {
    fps_in: fps_in?.toFixed(1),
    fps_out: fps_out?.toFixed(1),
    latency_p50: latency_ms?.p50?.toFixed(0),
    latency_p95: latency_ms?.p95?.toFixed(0),
    model_ms: model_ms?.toFixed(1),
    dropped: frames_dropped,
    skipped: frames_skipped,
    condition_age: condition_age_ms?.toFixed(0),
  };
  for (const [name, value] of Object.entries(numbers)) {
    root.querySelector(`[data-stat=${name}]`).textContent = value ?? "–";
  }
  // Only where a map is slower than the pictures.
  root.querySelector("#condition-age").hidden = numbers.condition_age === undefined;
  // Only where still pictures are skipped, or were.
  root.querySelector("#skipped").hidden = !(frames_skipped || row.settings?.skip_similar);
  showGovernor(root.querySelector("#governor"), row);
}

function showGovernor(line, { governor, settings }) {
  line.hidden = !governor;
  if (!governor) return;
  const words = `Governor: ${governor.doing} to keep ${settings?.latency_target} ms.`;
  line.dataset.level = governor.level;
  // Said once, not at every row.
  if (line.textContent !== words) line.textContent = words;
}
