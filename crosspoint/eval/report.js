"use strict";
// On paper nothing can be unfolded.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

// Pointing at a dot of the map shows its cloud, turning.
for (const map of document.querySelectorAll("svg[data-clouds]")) {
  const bytes = Uint8Array.from(atob(map.dataset.clouds), (letter) => letter.charCodeAt(0));
  const size = 3 * Number(map.dataset.points);
  const peek = document.body.appendChild(document.createElement("div"));
  peek.id = "peek";
  const canvas = peek.appendChild(document.createElement("canvas"));
  const caption = peek.appendChild(document.createElement("div"));
  canvas.width = canvas.height = 300;
  const pen = canvas.getContext("2d");
  let shown = null;

  const draw = (time) => {
    if (!shown) return;
    const first = Number(shown.dataset.cloud) * size;
    const angle = time / 1200, sin = Math.sin(angle), cos = Math.cos(angle);
    pen.clearRect(0, 0, 300, 300);
    pen.fillStyle = shown.getAttribute("fill");
    for (let i = first; i < first + size; i += 3) {
      const [x, y, z] = [bytes[i] / 127.5 - 1, bytes[i + 1] / 127.5 - 1, bytes[i + 2] / 127.5 - 1];
      const right = cos * x + sin * z, near = cos * z - sin * x;
      pen.globalAlpha = 0.65 + 0.35 * near;
      pen.beginPath();
      pen.arc(150 + 130 * right, 150 - 130 * (0.94 * y - 0.34 * near), 5, 0, 7);
      pen.fill();
    }
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
