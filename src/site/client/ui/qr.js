// @ts-check
// The QR code of a text (ISO/IEC 18004): its bytes, level M, in versions 1 to 15, which hold 412 bytes. Pure;
// loaded when it is first needed.

// By version: the bytes of error correction of a block, and the number of blocks (table 9).
const CHECKS = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10];

// GF(256) by 0x11d: the powers of 2, and their logarithms.
const POWER = new Uint8Array(255);
const LOG = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++) {
  POWER[i] = x;
  LOG[x] = i;
  x = (x << 1) ^ (x & 0x80 ? 0x11d : 0);
}
const times = (/** @type {number} */ a, /** @type {number} */ b) => (a && b ? POWER[(LOG[a] + LOG[b]) % 255] : 0);

/**
 * The remainder of a block's bytes by the generator of this degree.
 * @param {number[]} data
 * @param {number} degree
 */
function checksOf(data, degree) {
  let generator = [1];
  for (let i = 0; i < degree; i++) {
    const next = [...generator, 0];
    for (const [at, factor] of generator.entries()) next[at + 1] ^= times(factor, POWER[i]);
    generator = next;
  }
  const rest = [...data, ...Array(degree).fill(0)];
  for (const at of data.keys()) {
    const lead = rest[at];
    for (const [more, factor] of generator.entries()) rest[at + more] ^= times(factor, lead);
  }
  return rest.slice(data.length);
}

/** @param {number} version */
function centresOf(version) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const last = version * 4 + 10;
  const step = Math.ceil((last - 6) / (count - 1) / 2) * 2;
  return [6, ...Array.from({ length: count - 1 }, (_, i) => last - step * (count - 2 - i))];
}

/** @param {number} version */
function bytesOf(version) {
  const size = version * 4 + 17;
  const centres = centresOf(version).length;
  // All modules but: the finders and the format, the timing, the alignments (some lie on the timing), and the version.
  const alignments = centres && (centres * centres - 3) * 25 - (centres - 2) * 10;
  const own = 3 * 64 + 31 + 2 * (size - 16) + alignments + (version >= 7 ? 36 : 0);
  return Math.floor((size * size - own) / 8);
}

/**
 * The bytes in the order in which they are drawn.
 * @param {Uint8Array} text
 * @param {number} version
 */
function codewords(text, version) {
  const total = bytesOf(version);
  const blocks = BLOCKS[version - 1];
  const checks = CHECKS[version - 1];
  const room = total - blocks * checks;
  const long = version >= 10 ? 16 : 8;
  const bits = [
    (4).toString(2).padStart(4, '0'),
    text.length.toString(2).padStart(long, '0'),
    ...[...text].map((byte) => byte.toString(2).padStart(8, '0')),
  ].join('');
  if (bits.length > room * 8) return null;
  const ended = bits.padEnd(Math.min(room * 8, bits.length + 4), '0');
  const padded = ended.padEnd(Math.ceil(ended.length / 8) * 8, '0');
  const data = (padded.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2));
  for (let pad = 0xec; data.length < room; pad ^= 0xec ^ 0x11) data.push(pad);
  // The last blocks are longer by one if they do not divide evenly.
  const short = Math.floor(room / blocks);
  const shorts = blocks - (room % blocks);
  /** @type {number[][]} */
  const parts = [];
  for (let from = 0, i = 0; i < blocks; i++) {
    const length = short + (i < shorts ? 0 : 1);
    parts.push(data.slice(from, from + length));
    from += length;
  }
  const corrections = parts.map((part) => checksOf(part, checks));
  /** @param {number[][]} rows */
  const interleaved = (rows) =>
    rows[rows.length - 1].flatMap((_, at) => rows.flatMap((row) => (at < row.length ? [row[at]] : [])));
  return [...interleaved(parts), ...interleaved(corrections)];
}

/**
 * @param {number} value
 * @param {number} generator
 * @param {number} degree
 */
function remainder(value, generator, degree) {
  let rest = value;
  for (let i = 0; i < degree; i++) rest = (rest << 1) ^ ((rest >> (degree - 1)) & 1 ? generator : 0);
  return rest & ((1 << degree) - 1);
}

/** @type {Array<(x: number, y: number) => boolean>} */
const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/** @typedef {Array<Array<boolean | null>>} Grid rows of modules; null: not yet drawn */

/**
 * The modules that do not depend on the text.
 * @param {number} version
 */
function frameOf(version) {
  const size = version * 4 + 17;
  /** @type {Grid} */
  const grid = Array.from({ length: size }, () => Array(size).fill(null));
  /**
   * A square of rings around a centre: dark where the distance is one of these.
   * @param {number} cx
   * @param {number} cy
   * @param {number} reach
   * @param {number[]} dark
   */
  const rings = (cx, cy, reach, dark) => {
    for (let y = Math.max(0, cy - reach); y <= Math.min(size - 1, cy + reach); y++)
      for (let x = Math.max(0, cx - reach); x <= Math.min(size - 1, cx + reach); x++)
        grid[y][x] = dark.includes(Math.max(Math.abs(x - cx), Math.abs(y - cy)));
  };
  for (let i = 8; i < size - 8; i++) {
    grid[6][i] = i % 2 === 0;
    grid[i][6] = i % 2 === 0;
  }
  for (const [x, y] of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ])
    rings(x, y, 4, [0, 1, 3]);
  const centres = centresOf(version);
  const last = centres.length - 1;
  for (const [i, y] of centres.entries())
    for (const [j, x] of centres.entries()) {
      const isFinder = (i === 0 && (j === 0 || j === last)) || (i === last && j === 0);
      if (!isFinder) rings(x, y, 2, [0, 2]);
    }
  if (version >= 7) {
    const bits = (version << 12) | remainder(version, 0x1f25, 12);
    for (let i = 0; i < 18; i++) {
      const far = size - 11 + (i % 3);
      const near = Math.floor(i / 3);
      grid[near][far] = grid[far][near] = Boolean((bits >> i) & 1);
    }
  }
  format(grid, 0);
  return grid;
}

/**
 * Writes which mask the modules have, and the level, which is M.
 * @param {Grid} grid
 * @param {number} mask
 */
function format(grid, mask) {
  const { length: size } = grid;
  const bits = ((mask << 10) | remainder(mask, 0x537, 10)) ^ 0x5412;
  for (let i = 0; i < 15; i++) {
    const bit = Boolean((bits >> i) & 1);
    // Around the first finder, without the timing; then one half below the right one, the other next to the lower one.
    if (i < 8) grid[i < 6 ? i : i + 1][8] = grid[8][size - 1 - i] = bit;
    else grid[8][i === 8 ? 7 : 14 - i] = grid[size - 15 + i][8] = bit;
  }
  grid[size - 8][8] = true;
}

/**
 * How hard the modules are to read (8.8.2): runs, squares, what looks like a finder, and too much of one colour.
 * @param {Grid} grid
 */
function penalty(grid) {
  const { length: size } = grid;
  const lines = [...grid, ...grid.map((_, x) => grid.map((row) => row[x]))].map((line) =>
    line.map((dark) => (dark ? '1' : '0')).join(''),
  );
  let points = 0;
  for (const line of lines) {
    for (const [run] of line.matchAll(/0{5,}|1{5,}/g)) points += run.length - 2;
    points += 40 * [...line.matchAll(/(?=00001011101|10111010000)/g)].length;
  }
  for (let y = 1; y < size; y++)
    for (let x = 1; x < size; x++)
      if ([grid[y - 1][x], grid[y][x - 1], grid[y - 1][x - 1]].every((dark) => dark === grid[y][x])) points += 3;
  const dark = grid.flat().filter(Boolean).length;
  return points + 10 * Math.floor(Math.abs((dark * 100) / (size * size) - 50) / 5);
}

/**
 * The rows of the code, true for dark; null for a text that is too long.
 * @param {string} text
 * @returns {boolean[][] | null}
 */
export function qrCode(text) {
  const bytes = new TextEncoder().encode(text);
  let version = 0;
  let words = null;
  while (!words && version < CHECKS.length) words = codewords(bytes, ++version);
  if (!words) return null;
  const frame = frameOf(version);
  const { length: size } = frame;
  // From the right, two columns at a time, up and down, around the column of the timing.
  /** @type {Array<[number, number]>} */
  const free = [];
  for (let right = size - 1, up = true; right > 0; right -= right === 8 ? 3 : 2, up = !up)
    for (let i = 0; i < size; i++)
      for (const x of [right, right - 1]) {
        const y = up ? size - 1 - i : i;
        if (frame[y][x] === null) free.push([x, y]);
      }
  const drawn = MASKS.map((isTurned, mask) => {
    const grid = frame.map((row) => [...row]);
    for (const [at, [x, y]] of free.entries())
      grid[y][x] = Boolean(((words[at >> 3] ?? 0) >> (7 - (at & 7))) & 1) !== isTurned(x, y);
    format(grid, mask);
    return { grid, points: penalty(grid) };
  });
  const best = drawn.reduce((a, b) => (b.points < a.points ? b : a));
  return /** @type {boolean[][]} */ (best.grid);
}
