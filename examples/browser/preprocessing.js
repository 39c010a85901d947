// From raw points to those that a model takes: docs/preprocessing.md in JavaScript.

const M64 = (1n << 64n) - 1n;
const M128 = (1n << 128n) - 1n;
const NO_FACES = [
  0x42c4b0e3, 0x141cfc98, 0xc8f4fb9a, 0x24b96f99, 0xe441ae27, 0x4c939b64, 0x1b9995a4, 0x55b85278,
];
const TURNS = { x: "-y+x+z", y: "+x+y+z", z: "+x+z-y", "-x": "+y-x+z", "-y": "+x-y-z", "-z": "+x-z+y" };
const LARGEST = 3.4028234663852886e38;

/** NumPy's SeedSequence and PCG64. */
export class Rng {
  constructor(seed, stored) {
    let constant = 0x43b0d7e5;
    const scramble = (value, factor) => {
      value ^= constant;
      constant = Math.imul(constant, factor);
      value = Math.imul(value, constant);
      return (value ^ (value >>> 16)) >>> 0;
    };
    const mix = (x, word) => {
      const value = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, scramble(word, 0x931e8875));
      return (value ^ (value >>> 16)) >>> 0;
    };
    const words = [seed, stored, ...NO_FACES];
    const pool = words.slice(0, 4).map((word) => scramble(word, 0x931e8875));
    for (let i = 0; i < 4; i++) for (let j = 0; j < 4; j++) if (i !== j) pool[j] = mix(pool[j], pool[i]);
    for (const word of words.slice(4)) for (let j = 0; j < 4; j++) pool[j] = mix(pool[j], word);
    constant = 0x8b51f9dd;
    const out = Array.from({ length: 8 }, (_, i) => BigInt(scramble(pool[i % 4], 0x58f38ded)));
    const [high, low, stepHigh, stepLow] = [0, 2, 4, 6].map((i) => out[i] | (out[i + 1] << 32n));
    this.step = ((((stepHigh << 64n) | stepLow) << 1n) | 1n) & M128;
    this.state = (this.step + ((high << 64n) | low)) & M128;
    this.half = null;
    this.advance();
  }

  advance() {
    this.state = (this.state * 0x2360ed051fc65da44385df649fccf645n + this.step) & M128;
  }

  word() {
    if (this.half !== null) {
      const value = this.half;
      this.half = null;
      return value;
    }
    this.advance();
    const folded = (this.state >> 64n) ^ (this.state & M64);
    const turn = this.state >> 122n;
    const value = ((folded >> turn) | (folded << (64n - turn))) & M64;
    this.half = value >> 32n;
    return value & 0xffffffffn;
  }

  /** A number from 0 to n - 1. */
  below(n) {
    if (n === 1) return 0;
    const least = (1n << 32n) % BigInt(n);
    let product;
    do product = this.word() * BigInt(n);
    while ((product & 0xffffffffn) < least);
    return Number(product >> 32n);
  }
}

/** The rows of `count` points drawn from `stored` ones. */
export function draw(rng, stored, count) {
  const rows = [];
  const all = stored > 10000 && count > Math.floor(stored / 50);
  if (all) {
    for (let i = 0; i < stored; i++) rows.push(i);
  } else {
    const seen = new Set();
    for (let j = stored - count; j < stored; j++) {
      const row = rng.below(j + 1);
      rows.push(seen.has(row) ? j : row);
      seen.add(rows[rows.length - 1]);
    }
  }
  for (let i = rows.length - 1; i >= Math.max(rows.length - count, 1); i--) {
    const j = rng.below(i + 1);
    [rows[i], rows[j]] = [rows[j], rows[i]];
  }
  return rows.slice(rows.length - count);
}

/** Points (x, y, z one after the other) without those that are NaN, infinite or too large. */
export function dropMissing(points) {
  const kept = [];
  for (let i = 0; i + 2 < points.length; i += 3) {
    const point = [points[i], points[i + 1], points[i + 2]];
    if (point.every((value) => Math.abs(value) <= LARGEST)) kept.push(...point);
  }
  return kept;
}

/** Draw `count` points (all of a smaller cloud), turn them to y-up, centre and scale them: Float32Array of 3N. */
export function prepare(points, { count, up = "y", seed = 0 }) {
  const stored = points.length / 3;
  if (stored === 0) throw new Error("the cloud has no points");
  const rows = stored <= count ? [...Array(stored).keys()] : draw(new Rng(seed, stored), stored, count);
  const turn = TURNS[up];
  const turned = rows.flatMap((row) =>
    [0, 2, 4].map((i) => (turn[i] === "-" ? -1 : 1) * points[3 * row + "xyz".indexOf(turn[i + 1])]),
  );
  const mean = [0, 1, 2].map((axis) => turned.reduce((sum, v, i) => (i % 3 === axis ? sum + v : sum), 0) / rows.length);
  if (turned.every((value, i) => value === turned[i % 3])) return new Float32Array(turned.length);
  const centred = turned.map((value, i) => value - mean[i % 3]);
  let radius = 0;
  for (let i = 0; i < centred.length; i += 3) radius = Math.max(radius, Math.hypot(...centred.slice(i, i + 3)));
  return Float32Array.from(centred, (value) => value / radius);
}
