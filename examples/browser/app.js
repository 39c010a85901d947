// The page: reads a cloud, embeds it with ONNX Runtime Web, shows its class and its nearest shapes.

import * as ort from "./ort/ort.wasm.min.mjs";
import { dropMissing, prepare } from "./preprocessing.js";
import { readCloud } from "./reading.js";
import { drawCloud, paintAgain, turnable } from "./view.js";

const NEAREST = 9;
const TOP = 3;
const THUMB = 32767; // int16 of a coordinate of 1

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers of the server

const $ = (id) => document.getElementById(id);
const show = turnable($("view"));
let latest = null;

async function load(url, kind) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} is missing; run build.py`);
  return answer[kind]();
}

/** All outputs of a model for points (x, y, z one after the other). */
async function run(session, points) {
  const input = new ort.Tensor("float32", points, [1, points.length / 3, 3]);
  return session.run({ points: input });
}

async function start() {
  const [about, embeddings, thumbs] = await Promise.all([
    load("data/about.json", "json"),
    load("data/embeddings.bin", "arrayBuffer"),
    load("data/clouds.bin", "arrayBuffer"),
  ]);
  const session = await ort.InferenceSession.create("data/encoder.onnx", { executionProviders: ["wasm"] });
  for (const name of about.samples) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    button.onclick = async () => answer(`${name}.npy`, await load(`data/${name}.npy`, "arrayBuffer"), "y");
    $("samples").append(button);
  }
  tell("Ready.");
  return { about, session, embeddings: new Float32Array(embeddings), thumbs: new Int16Array(thumbs) };
}

/** Distances of a query to all shapes, the nearest first. */
function nearest({ about, embeddings }, query) {
  const norm = Math.hypot(...query);
  return about.names
    .map((name, i) => {
      let product = 0;
      for (let j = 0; j < query.length; j++) product += query[j] * embeddings[i * query.length + j];
      return { name, index: i, distance: 1 - product / norm };
    })
    .sort((a, b) => a.distance - b.distance);
}

async function answer(name, buffer, up) {
  try {
    const model = await ready;
    latest = { name, buffer };
    $("up").value = up;
    const points = dropMissing(readCloud(name, buffer));
    const prepared = prepare(points, { count: model.about.points, up });
    $("drop").classList.add("full");
    show(prepared);
    tell("Embedding …");
    await new Promise((done) => setTimeout(done)); // lets the browser draw
    const began = performance.now();
    const outputs = await run(model.session, prepared);
    const took = Math.round(performance.now() - began);
    tell(`${name}: ${(points.length / 3).toLocaleString("en")} points, embedded in ${took} ms.`);
    $("waiting").hidden = true;
    $("answer").hidden = false;
    if (outputs.scores) showClass(model.about, outputs.scores.data, outputs.novelty.data[0]);
    showNeighbours(model, nearest(model, outputs.embedding.data).slice(0, NEAREST));
  } catch (error) {
    tell(`${name}: ${error.message}`, true);
  }
}

function showClass({ classes, threshold }, scores, novelty) {
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]);
  const unknown = novelty > threshold;
  const note = Object.assign(document.createElement("small"), {
    className: unknown ? "unknown" : "",
    textContent: unknown ? " unlike all classes; this is the best one" : "",
  });
  $("label").replaceChildren(classes[order[0]], note);
  const rows = order.slice(0, TOP).map((i) => {
    const row = document.createElement("li");
    const bar = Object.assign(document.createElement("div"), { className: "bar" });
    bar.append(Object.assign(document.createElement("i"), { style: `width: ${100 * scores[i]}%` }));
    const percent = `${(100 * scores[i]).toFixed(0)} %`;
    row.append(...[classes[i], bar, percent].map((part) => (part === bar ? bar : text(part))));
    return row;
  });
  $("bars").replaceChildren(...rows);
  $("class").hidden = false;
}

function showNeighbours({ thumbs, about }, found) {
  const size = 3 * about.thumb_points;
  const cards = found.map(({ name, index, distance }) => {
    const card = document.createElement("li");
    const canvas = document.createElement("canvas");
    card.append(canvas, name.split("/")[0].replaceAll("_", " "), text(distance.toFixed(3)));
    card.title = name;
    const points = Array.from(thumbs.subarray(index * size, (index + 1) * size), (value) => value / THUMB);
    paintAgain(canvas, () => drawCloud(canvas, points, { size: 0.9 }));
    return card;
  });
  $("neighbours").replaceChildren(...cards);
}

function text(content) {
  return Object.assign(document.createElement("span"), { textContent: content });
}

function tell(content, bad = false) {
  $("status").textContent = content;
  $("status").classList.toggle("bad", bad);
}

async function take(file) {
  if (file) await answer(file.name, await file.arrayBuffer(), $("up").value);
}

$("file").onchange = () => take($("file").files[0]);
$("up").onchange = () => latest && answer(latest.name, latest.buffer, $("up").value);
for (const event of ["dragenter", "dragover", "dragleave", "drop"])
  document.addEventListener(event, (dropped) => {
    dropped.preventDefault();
    $("drop").classList.toggle("over", event === "dragenter" || event === "dragover");
    if (event === "drop") take(dropped.dataTransfer.files[0]);
  });

const ready = start();
ready.catch((error) => tell(error.message, true));
window.crosspoint = { ready, run, ort }; // for tests and the console
