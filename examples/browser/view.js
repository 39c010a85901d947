// Draws clouds on canvases.

/** Draw points (normalised, x, y, z one after the other), turned by `angle` about the vertical axis and tilted. */
export function drawCloud(canvas, points, { angle = 0.6, tilt = 0.35, size = 1.6 } = {}) {
  const scale = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const half = 0.46 * Math.min(canvas.width, canvas.height);
  const [c, s, ct, st] = [Math.cos(angle), Math.sin(angle), Math.cos(tilt), Math.sin(tilt)];
  const placed = [];
  for (let i = 0; i < points.length; i += 3) {
    const [x, y, z] = [points[i] * c + points[i + 2] * s, points[i + 1], points[i + 2] * c - points[i] * s];
    placed.push([x, y * ct - z * st, y * st + z * ct]);
  }
  placed.sort((a, b) => a[2] - b[2]);
  context.fillStyle = style.color;
  for (const [x, y, depth] of placed) {
    context.globalAlpha = 0.35 + 0.3 * (depth + 1);
    context.beginPath();
    context.arc(canvas.width / 2 + half * x, canvas.height / 2 - half * y, size * scale, 0, 2 * Math.PI);
    context.fill();
  }
}

/** Paint a canvas now, and again when its size or the colours of the page change. */
export function paintAgain(canvas, paint) {
  new ResizeObserver(paint).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => canvas.isConnected && paint());
}

/** Let the user turn a cloud with the pointer; returns a function that shows another cloud. */
export function turnable(canvas) {
  const pose = { angle: 0.6, tilt: 0.35 };
  let points = [];
  const show = () => drawCloud(canvas, points, pose);
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    pose.angle += event.movementX / 120;
    pose.tilt = Math.max(-1.5, Math.min(1.5, pose.tilt + event.movementY / 120));
    show();
  });
  paintAgain(canvas, show);
  return (next) => {
    points = next;
    show();
  };
}
