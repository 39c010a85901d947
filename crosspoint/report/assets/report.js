"use strict";
// On paper nothing can be unfolded.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

// On a narrow screen the rows of a table of more than two columns become cards, whose entries need their columns' names.
for (const table of document.querySelectorAll("table")) {
  const columns = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  if (columns.length < 3) continue;
  table.classList.add("stacked");
  for (const row of table.tBodies[0].rows)
    [...row.cells].forEach((cell, number) => { cell.dataset.column = columns[number]; });
}

const unpack = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// Points [first, last) of packed clouds, seen from a little above, around the middle of a canvas.
const paint = (pen, bytes, first, last, angle, radius, dot, colourOf) => {
  const { width, height } = pen.canvas, sin = Math.sin(angle), cos = Math.cos(angle);
  pen.clearRect(0, 0, width, height);
  const places = [];
  for (let i = first; i < last; i += 1) {
    const [x, y, z] = [0, 1, 2].map((axis) => bytes[3 * i + axis] / 127.5 - 1);
    places.push([cos * x + sin * z, y, cos * z - sin * x, i - first]);
  }
  places.sort((a, b) => a[2] - b[2]);  // the nearest last
  for (const [right, up, near, number] of places) {
    pen.fillStyle = colourOf(number);
    pen.globalAlpha = 0.65 + 0.35 * near;
    pen.beginPath();
    pen.arc(width / 2 + radius * right, height / 2 - radius * (0.94 * up - 0.34 * near), dot, 0, 7);
    pen.fill();
  }
};

// Clouds with their parts turn by themselves until they are dragged or turned with the arrow keys.
for (const figure of document.querySelectorAll(".turntable")) {
  const bytes = unpack(figure.dataset.clouds), parts = unpack(figure.dataset.parts);
  const count = Number(figure.dataset.points), colours = figure.dataset.colours.split("|");
  const canvas = figure.querySelector("canvas"), pen = canvas.getContext("2d");
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let shape = 0, angle = 0.6, turning = !still, held = null;

  const draw = () => {
    const first = shape * count;
    paint(pen, bytes, first, first + count, angle, 235, 5, (i) => colours[parts[first + i]]);
  };
  const turn = () => {
    if (!turning) return;
    angle += 0.008;
    draw();
    requestAnimationFrame(turn);
  };
  const choose = (number) => {
    shape = number;
    for (const button of figure.querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.shape) === number));
    for (const legend of figure.querySelectorAll("[data-legend]"))
      legend.hidden = Number(legend.dataset.legend) !== number;
    draw();
  };
  figure.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose(Number(button.dataset.shape));
  });
  canvas.addEventListener("pointerdown", (event) => {
    [turning, held] = [false, event.clientX];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held === null) return;
    [angle, held] = [angle + (event.clientX - held) / 120, event.clientX];
    draw();
  });
  canvas.addEventListener("pointerup", () => { held = null; });
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    [turning, angle] = [false, angle + (event.key === "ArrowLeft" ? -0.15 : 0.15)];
    draw();
  });
  figure.classList.add("live");
  choose(0);
  turn();
}

// Pointing at a dot of the map shows its cloud, turning.
for (const map of document.querySelectorAll("svg[data-clouds]")) {
  const bytes = unpack(map.dataset.clouds), count = Number(map.dataset.points);
  const peek = document.body.appendChild(document.createElement("div"));
  peek.id = "peek";
  const canvas = peek.appendChild(document.createElement("canvas"));
  const caption = peek.appendChild(document.createElement("div"));
  canvas.width = canvas.height = 300;
  const pen = canvas.getContext("2d");
  let shown = null;

  const draw = (time) => {
    if (!shown) return;
    const first = Number(shown.dataset.cloud) * count, fill = shown.getAttribute("fill");
    paint(pen, bytes, first, first + count, time / 1200, 130, 5, () => fill);
    requestAnimationFrame(draw);
  };
  const show = (event) => {
    const dot = event.target.closest("circle[data-cloud]");
    const idle = !shown;
    shown = dot;
    peek.style.display = dot ? "block" : "none";
    if (!dot) return;
    caption.textContent = dot.getAttribute("aria-label");
    peek.style.left = Math.max(0, Math.min(event.clientX + 16, innerWidth - 180)) + "px";
    peek.style.top = Math.max(0, Math.min(event.clientY + 16, innerHeight - 200)) + "px";
    if (idle) requestAnimationFrame(draw);
  };
  map.addEventListener("pointerover", show);
  map.addEventListener("pointerdown", show);
  map.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && show({ target: map }));
}
