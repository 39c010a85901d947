// Points of .npy, .ply and text files, x, y, z one after the other.

const NUMBERS = {
  char: ["getInt8", 1], int8: ["getInt8", 1], uchar: ["getUint8", 1], uint8: ["getUint8", 1],
  short: ["getInt16", 2], int16: ["getInt16", 2], ushort: ["getUint16", 2], uint16: ["getUint16", 2],
  int: ["getInt32", 4], int32: ["getInt32", 4], uint: ["getUint32", 4], uint32: ["getUint32", 4],
  float: ["getFloat32", 4], float32: ["getFloat32", 4], double: ["getFloat64", 8], float64: ["getFloat64", 8],
};

/** Points of a file, by the end of its name. */
export function readCloud(name, buffer) {
  const end = name.toLowerCase().split(".").pop();
  if (end === "npy") return readNpy(buffer);
  if (end === "ply") return readPly(buffer);
  if (["xyz", "txt", "csv", "pts", "asc"].includes(end)) return readText(new TextDecoder().decode(buffer));
  throw new Error(`${name}: give a .ply, .npy, .xyz, .txt or .csv file`);
}

function readNpy(buffer) {
  const view = new DataView(buffer);
  const start = view.getUint8(6) === 1 ? 10 + view.getUint16(8, true) : 12 + view.getUint32(8, true);
  const head = new TextDecoder().decode(buffer.slice(0, start));
  const shape = head.match(/'shape': \((\d+), 3\)/);
  const kind = head.match(/'descr': '<(f[48])'/);
  if (!shape || !kind)
    throw new Error("the .npy file holds no (N, 3) array of float32 or float64");
  const values = kind[1] === "f4" ? new Float32Array(buffer.slice(start)) : new Float64Array(buffer.slice(start));
  const rows = Number(shape[1]);
  if (!head.includes("'fortran_order': True")) return values.slice(0, 3 * rows);
  return Array.from({ length: 3 * rows }, (_, i) => values[(i % 3) * rows + Math.floor(i / 3)]);
}

function readText(text) {
  const points = [];
  for (const line of text.split("\n")) {
    const values = line.trim().split(/[\s,;]+/).slice(0, 3).map(Number);
    if (line.trim() && values.length === 3 && !values.some(Number.isNaN)) points.push(...values);
  }
  return points;
}

/** The vertices of a .ply file, whose element `vertex` comes first. */
function readPly(buffer) {
  const start = new TextDecoder("latin1").decode(buffer.slice(0, 65536));
  const head = start.match(/^ply\r?\n[^]*?end_header\r?\n/)?.[0];
  const count = Number(head?.match(/element vertex (\d+)/)?.[1]);
  const block = head?.match(/element vertex \d+\s+((?:(?:property [^\n]*|comment[^\n]*)\r?\n)*)/)?.[1] ?? "";
  const fields = [...block.matchAll(/property (\w+) (\w+)/g)].map((found) => ({ type: found[1], name: found[2] }));
  const places = ["x", "y", "z"].map((axis) => fields.findIndex((field) => field.name === axis));
  const first = head?.match(/element (\w+)/)?.[1];
  if (!head || !count || first !== "vertex" || places.includes(-1) || fields.some((field) => !(field.type in NUMBERS)))
    throw new Error("the .ply file holds no points with x, y and z");
  if (head.includes("format ascii")) {
    const lines = new TextDecoder().decode(buffer.slice(head.length)).split("\n").slice(0, count);
    return lines.flatMap((line) => places.map((place) => Number(line.trim().split(/\s+/)[place])));
  }
  const little = head.includes("little_endian");
  const offsets = [0];
  for (const field of fields) offsets.push(offsets[offsets.length - 1] + NUMBERS[field.type][1]);
  const size = offsets[fields.length];
  const view = new DataView(buffer, head.length);
  const points = [];
  for (let row = 0; row < count; row++)
    for (const place of places) points.push(view[NUMBERS[fields[place].type][0]](row * size + offsets[place], little));
  return points;
}
