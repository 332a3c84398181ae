// The measuring stamp: one row of black and white cells along the top edge that says which frame this is and how old.
//
// 48 cells over the full width: 16 bits counter, 24 bits time in milliseconds, 8 bits CRC-8 (polynomial 0x07, start 0)
// over those five bytes, most significant bit first; black is 0, white 1. streaming/stamp.py reads and writes the same.

export const CELLS = 48;
/** Below this width a cell has too few pixels left to survive an encoder. */
export const MIN_WIDTH = 2 * CELLS;
const THRESHOLD = 128;

/** Draws the stamp over the top rows of a canvas that is `width` pixels wide. */
export function drawStamp(context, width, counter, timeMs) {
  const bits = encode(counter, timeMs);
  const height = rowHeight(width);
  for (let cell = 0; cell < CELLS; cell++) {
    const left = edge(cell, width);
    context.fillStyle = bits[cell] ? "#fff" : "#000";
    context.fillRect(left, 0, edge(cell + 1, width) - left, height);
  }
}

/** `{counter, timeMs}` of an ImageData whose top edge is the picture's; null if no stamp is there or it is damaged. */
export function readStamp({ data, width, height }) {
  const row = rowHeight(width);
  if (width < MIN_WIDTH || height < row) return null;
  const bytes = new Uint8Array(6);
  for (let cell = 0; cell < CELLS; cell++) {
    const bit = brightness(data, width, row, edge(cell, width), edge(cell + 1, width)) >= THRESHOLD ? 1 : 0;
    bytes[cell >> 3] |= bit << (7 - (cell & 7));
  }
  // All black has a right checksum too (a CRC that starts at 0), and a dark picture is no stamp.
  if (crc8(bytes.subarray(0, 5)) !== bytes[5] || !bytes.some(Boolean)) return null;
  return { counter: (bytes[0] << 8) | bytes[1], timeMs: (bytes[2] << 16) | (bytes[3] << 8) | bytes[4] };
}

/** Height in pixels of the stamp's row in a picture of this width. */
export function rowHeight(width) {
  return Math.max(8, Math.floor(width / 32));
}

function encode(counter, timeMs) {
  const time = Math.floor(timeMs);
  const bytes = [counter >> 8, counter, time >> 16, time >> 8, time].map((value) => value & 0xff);
  bytes.push(crc8(bytes));
  return bytes.flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((shift) => (byte >> shift) & 1));
}

function edge(cell, width) {
  return Math.round((cell * width) / CELLS);
}

// The mean of a cell's middle half, in both directions: what an encoder smears is left out.
function brightness(data, width, row, left, right) {
  const marginX = (right - left) >> 2;
  const marginY = row >> 2;
  let sum = 0;
  let count = 0;
  for (let y = marginY; y < row - marginY; y++) {
    for (let x = left + marginX; x < right - marginX; x++) {
      const at = 4 * (y * width + x);
      sum += data[at] + data[at + 1] + data[at + 2];
      count += 3;
    }
  }
  return sum / count;
}

function crc8(bytes) {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x80 ? ((crc << 1) ^ 0x07) & 0xff : crc << 1;
  }
  return crc;
}
