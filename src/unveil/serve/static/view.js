/* The canvas: photograph, paint, the restored picture beside it, and marks at the screen's own resolution.
   Landmarks are in the picture's pixels, (0, 0) the centre of the first one. */

const HEIGHT = 0.72; // of the window's, at most
const ENLARGED = 8; // CSS pixels a pixel of the picture, at most
const AROUND = 1.35; // a close-up's height, in diagonals of the face

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.scene = null;
    this.frame = { x: 0, y: 0, width: 1, height: 1 }; // what part of the picture is in view
    this.queued = false;
    new ResizeObserver(() => this.fit()).observe(canvas.parentElement);
    addEventListener("resize", () => this.fit());
  }

  /** What is drawn from now on: {picture, paint, faces, restored, after, split, show, scheme, cursor}. */
  set(scene) {
    const fresh = scene.picture !== this.scene?.picture;
    this.scene = scene;
    if (fresh) this.whole();
    this.redraw();
  }

  whole() {
    this.frame = whole(this.scene.picture);
    this.fit();
  }

  /** Only this face and some room about it. */
  closeUp(face) {
    const { picture } = this.scene;
    const [left, top, right, bottom] = bounds(face.landmarks);
    const side = AROUND * Math.hypot(right - left, bottom - top);
    const [width, height] = [Math.min(1.3 * side, picture.width), Math.min(side, picture.height)];
    const x = Math.min(Math.max((left + right - width) / 2, 0), picture.width - width);
    const y = Math.min(Math.max((top + bottom - height) / 2, 0), picture.height - height);
    this.frame = { x, y, width, height };
    this.fit();
  }

  /** The largest size that the window has room for. */
  fit() {
    if (!this.scene) return;
    const { width, height } = this.frame;
    const room = { x: this.canvas.parentElement.clientWidth, y: Math.max(280, innerHeight * HEIGHT) };
    const zoom = Math.min(room.x / width, room.y / height, ENLARGED);
    const css = { width: Math.max(1, Math.floor(width * zoom)), height: Math.max(1, Math.floor(height * zoom)) };
    this.canvas.style.width = `${css.width}px`;
    this.canvas.style.height = `${css.height}px`;
    this.canvas.width = Math.round(css.width * devicePixelRatio);
    this.canvas.height = Math.round(css.height * devicePixelRatio);
    this.redraw();
  }

  redraw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      if (this.scene) draw(this.canvas, this.scene, this.frame, devicePixelRatio);
    });
  }

  /** From a pointer event to the picture's pixels. */
  place(event) {
    const canvas = this.canvas.getBoundingClientRect();
    const { x, y, width, height } = this.frame;
    return [
      x + ((event.clientX - canvas.left) / canvas.width) * width - 0.5,
      y + ((event.clientY - canvas.top) / canvas.height) * height - 0.5,
    ];
  }
}

/** What is seen as a PNG of the picture's own size, without the cursor. */
export async function toPng(scene) {
  const canvas = new OffscreenCanvas(scene.picture.width, scene.picture.height);
  draw(canvas, { ...scene, cursor: null }, whole(scene.picture), 1);
  return canvas.convertToBlob({ type: "image/png" });
}

const whole = ({ width, height }) => ({ x: 0, y: 0, width, height });

function draw(canvas, scene, frame, ratio) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const scale = width / frame.width;
  const to = ([x, y]) => [(x + 0.5 - frame.x) * scale, (y + 0.5 - frame.y) * scale];
  const lay = (image) => context.drawImage(image, frame.x, frame.y, frame.width, frame.height, 0, 0, width, height);
  context.clearRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  lay(scene.picture);
  lay(scene.paint);
  if (!scene.restored) {
    marks(context, scene.faces, scene, to, ratio);
  } else {
    const edge = width * scene.split; // the restored side grows from the left, as the slider does
    clipped(context, edge, width - edge, height, () => marks(context, scene.faces, scene, to, ratio));
    clipped(context, 0, edge, height, () => {
      lay(scene.restored);
      marks(context, scene.after, scene, to, ratio);
    });
    context.fillStyle = "white";
    if (scene.split > 0 && scene.split < 1) context.fillRect(edge - ratio, 0, 2 * ratio, height);
  }
  if (scene.cursor) ring(context, to(scene.cursor.at), (scene.cursor.size / 2) * scale, ratio);
}

function clipped(context, x, width, height, paint) {
  context.save();
  context.beginPath();
  context.rect(x, 0, width, height);
  context.clip();
  paint();
  context.restore();
}

function marks(context, faces, { scheme, show }, to, ratio) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  faces.forEach((face, index) => {
    const points = face.landmarks.map(to);
    const [left, top, right, bottom] = bounds(points);
    const size = Math.hypot(right - left, bottom - top);
    if (show.boxes) {
      const corners = [...to(face.box.slice(0, 2)), ...to(face.box.slice(2))];
      box(context, corners, colour("box"), size, ratio, faces.length > 1 ? String(index) : "");
    }
    if (show.contours) contours(context, points, scheme.contours, size, ratio);
    const radius = Math.max(1.8 * ratio, size / 110);
    if (show.points) {
      points.forEach((point, i) => {
        const seen = !(face.visibility?.[i] < scheme.visibility_threshold); // null: the model does not say
        (seen ? dot : cross)(context, point, radius, colour(seen ? "seen" : "hidden"), colour("rim"));
      });
    }
    if (show.numbers) numbers(context, points, radius, Math.max(9 * ratio, size / 45));
  });
}

function bounds(points) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

function box(context, [x0, y0, x1, y1], colour, size, ratio, label) {
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = Math.max(1.5 * ratio, size / 200);
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  context.font = `600 ${Math.max(12 * ratio, size / 18)}px system-ui, sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "bottom";
  context.fillText(label, x0, y0 - 3 * ratio);
}

function contours(context, points, lines, size, ratio) {
  const width = Math.max(ratio, size / 300);
  context.lineJoin = "round";
  for (const [stroke, lineWidth] of [["rgb(0 0 0 / 0.55)", 2.4 * width], ["white", width]]) { // also on white
    context.strokeStyle = stroke;
    context.lineWidth = lineWidth;
    for (const line of lines) {
      context.beginPath();
      line.points.forEach((i, n) => (n ? context.lineTo(...points[i]) : context.moveTo(...points[i])));
      if (line.closed) context.closePath();
      context.stroke();
    }
  }
}

function dot(context, [x, y], radius, colour, rim) {
  for (const [fill, reach] of [[rim, 1.3 * radius], [colour, radius]]) {
    context.fillStyle = fill;
    context.beginPath();
    context.arc(x, y, reach, 0, 2 * Math.PI);
    context.fill();
  }
}

function cross(context, [x, y], radius, colour, rim) {
  for (const [stroke, width, reach] of [[rim, 1.3 * radius, 1.3 * radius], [colour, 0.7 * radius, radius]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x - reach, y - reach);
    context.lineTo(x + reach, y + reach);
    context.moveTo(x - reach, y + reach);
    context.lineTo(x + reach, y - reach);
    context.stroke();
  }
}

function numbers(context, points, radius, height) {
  context.font = `${height}px system-ui, sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.lineWidth = height / 4;
  context.lineJoin = "round";
  context.strokeStyle = "rgb(0 0 0 / 0.7)";
  context.fillStyle = "white";
  points.forEach(([x, y], i) => {
    context.strokeText(i, x + 1.6 * radius, y);
    context.fillText(i, x + 1.6 * radius, y);
  });
}

function ring(context, [x, y], radius, ratio) {
  for (const [stroke, width] of [["rgb(0 0 0 / 0.6)", 3 * ratio], ["white", 1.5 * ratio]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
  }
}
