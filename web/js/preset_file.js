// What a dropped file is, from its own bytes: a preset, a zip of presets, or somebody else's.
// Only looks; whether a preset is sound is the server's to say.

const FORMAT = "solver-search-preset";
export const MAX_PRESET = 1 << 20;
export const MAX_ZIP = 64 << 20;
const MAX_ENTRIES = 1000;

/** Whether a file may be a preset or a zip of presets, judged without reading it. @param {{name: string, size: number}} file */
export function mayBeOurs(file) {
  if (/\.safetensors$/i.test(file.name)) return file.size <= MAX_PRESET;
  return /\.zip$/i.test(file.name) && file.size <= MAX_ZIP;
}

/**
 * The texts in a safetensors header if it says that it is a preset, else null.
 * @param {Uint8Array} bytes
 * @returns {Record<string, string> | null}
 */
export function presetHeader(bytes) {
  if (bytes.length < 10) return null;
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (length > bytes.length - 8) return null;
  try {
    const said = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))).__metadata__;
    return said?.format === FORMAT ? said : null;
  } catch {
    return null;
  }
}

/** @typedef {{name: string, bytes: Uint8Array, header: Record<string, string>}} Found a preset */

/**
 * Presets in a file; none if it is somebody else's.
 * @param {File} file
 * @returns {Promise<Found[]>}
 */
export async function presetsIn(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const entries = /\.zip$/i.test(file.name) ? await unzip(bytes).catch(() => []) : [{ name: file.name, bytes }];
  return entries.flatMap((entry) => {
    const header = presetHeader(entry.bytes);
    return header ? [{ ...entry, header }] : [];
  });
}

/**
 * The small `.safetensors` files in a zip, by their names without folders.
 * @param {Uint8Array} bytes
 * @returns {Promise<{name: string, bytes: Uint8Array}[]>}
 * @throws {Error} not a zip, or one of more entries than presets fill
 */
export async function unzip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = endOf(view);
  const count = view.getUint16(end + 10, true);
  if (count > MAX_ENTRIES) throw new Error(`A zip of presets has at most ${MAX_ENTRIES} files, this one ${count}.`);
  const found = [];
  let at = view.getUint32(end + 16, true);
  let room = MAX_ZIP;
  for (let i = 0; i < count; i++) {
    const entry = entryAt(view, bytes, at);
    at = entry.next;
    if (!mayHoldPreset(entry)) continue;
    room -= entry.size;
    if (room < 0) throw new Error("The zip unpacks to more than presets fill.");
    found.push({ name: entry.name, bytes: await content(view, bytes, entry) });
  }
  return found;
}

/** By what the zip says of it; what is packed may lie as well as what is not. @param {{name: string, size: number, packed: number, locked: boolean}} entry */
function mayHoldPreset(entry) {
  return Math.max(entry.size, entry.packed) <= MAX_PRESET && /\.safetensors$/i.test(entry.name) && !entry.locked;
}

/** @param {DataView} view */
function endOf(view) {
  const last = Math.max(0, view.byteLength - 22 - 0xffff);
  for (let at = view.byteLength - 22; at >= last; at--)
    if (view.getUint32(at, true) === 0x06054b50) return at;
  throw new Error("This is not a zip file.");
}

/** @param {DataView} view @param {Uint8Array} bytes @param {number} at */
function entryAt(view, bytes, at) {
  if (view.getUint32(at, true) !== 0x02014b50) throw new Error("The zip file is damaged.");
  const length = view.getUint16(at + 28, true);
  const next = at + 46 + length + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  const path = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + length));
  return {
    name: path.split(/[\\/]/).pop() ?? "", locked: (view.getUint16(at + 8, true) & 1) === 1,
    method: view.getUint16(at + 10, true), packed: view.getUint32(at + 20, true),
    size: view.getUint32(at + 24, true), start: view.getUint32(at + 42, true), next,
  };
}

/** @param {DataView} view @param {Uint8Array} bytes @param {{start: number, packed: number, size: number, method: number}} entry */
async function content(view, bytes, entry) {
  const begin = entry.start + 30 + view.getUint16(entry.start + 26, true) + view.getUint16(entry.start + 28, true);
  const packed = bytes.subarray(begin, begin + entry.packed);
  if (entry.method === 0) return packed.slice(0, entry.size);
  const stream = new Blob([/** @type {BlobPart} */ (packed)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return atMost(stream.getReader(), entry.size);
}

/** Read what was announced and not a byte more. @param {ReadableStreamDefaultReader<Uint8Array>} reader @param {number} size */
async function atMost(reader, size) {
  const whole = new Uint8Array(size);
  let filled = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return whole.subarray(0, filled);
    if (filled + value.length > size) throw new Error("A file in the zip is larger than it says.");
    whole.set(value, filled);
    filled += value.length;
  }
}
