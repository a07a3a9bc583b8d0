/* The canvas: photograph, paint, the restored picture beside it, and marks at the screen's own resolution. Pointers and
   keys go to the active tool. Landmarks are in the picture's pixels, (0, 0) the centre of the first one. */

import { bounds } from "./face.js";
import { corners, drawBox, drawFaces, ring } from "./marks.js";

const HEIGHT = { wide: 0.64, narrow: 0.42 }; // of the window's, at most
const LEAST_HEIGHT = 240; // CSS pixels
const ENLARGED = 8; // CSS pixels a pixel of the picture, at most
const AROUND = 1.35; // a close-up's height, in diagonals of the face

export class View {
  /** `room` is the element whose width the canvas may take. */
  constructor(canvas, room) {
    this.canvas = canvas;
    this.room = room;
    this.scene = null;
    this.tool = null;
    this.pointer = null; // the one that is down
    this.frame = { x: 0, y: 0, width: 1, height: 1 }; // what part of the picture is in view
    this.queued = false;
    new ResizeObserver(() => this.fit()).observe(room);
    addEventListener("resize", () => this.fit());
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#up(event));
    for (const end of ["pointerleave", "blur"]) canvas.addEventListener(end, () => this.pointer ?? this.tool?.away?.());
    canvas.addEventListener("keydown", (event) => {
      if (this.tool?.key?.(event)) event.preventDefault();
    });
  }

  /** What is drawn from now on: {picture, paint, faces, restoration, split, show, scheme, selected, draft, cursor}. */
  set(scene) {
    const fresh = scene.picture !== this.scene?.picture;
    this.scene = scene;
    if (fresh) this.whole();
    this.redraw();
  }

  /** Gives pointers and keys to another tool; null is none. */
  use(tool) {
    if (this.pointer !== null) this.tool?.up?.();
    this.pointer = null;
    this.tool?.away?.();
    this.tool = tool;
  }

  whole() {
    this.frame = whole(this.scene.picture);
    this.fit();
  }

  /** Only this face and some room about it. */
  closeUp(face) {
    const { picture } = this.scene;
    const [left, top, right, bottom] = bounds(face);
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
    const share = matchMedia("(max-width: 56rem)").matches ? HEIGHT.narrow : HEIGHT.wide;
    const room = { x: this.room.clientWidth, y: Math.max(LEAST_HEIGHT, innerHeight * share) };
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

  /** CSS pixels in pixels of the picture. */
  reach(pixels) {
    return (pixels * this.frame.width) / this.canvas.getBoundingClientRect().width;
  }

  /** Which landmarks are shown at a place: those of the picture, or those "after" it was restored. */
  sideAt([x]) {
    const { restoration, split } = this.scene;
    return restoration && (x + 0.5 - this.frame.x) / this.frame.width >= split ? "after" : "faces";
  }

  #down(event) {
    if (event.button !== 0 || this.pointer !== null || !this.tool?.down(this.place(event), event)) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
  }

  #move(event) {
    if (this.pointer === null || this.pointer === event.pointerId) this.tool?.move?.(this.place(event), this.pointer !== null);
  }

  #up(event) {
    if (this.pointer !== event.pointerId) return;
    this.pointer = null;
    this.tool?.up?.();
  }
}

/** What is seen as a PNG of the picture's own size, without what helps to edit it. */
export async function toPng(scene) {
  const canvas = new OffscreenCanvas(scene.picture.width, scene.picture.height);
  draw(canvas, { ...scene, cursor: null, draft: null, selected: null, handles: false }, whole(scene.picture), 1);
  return canvas.convertToBlob({ type: "image/png" });
}

const whole = ({ width, height }) => ({ x: 0, y: 0, width, height });

function draw(canvas, scene, frame, ratio) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const scale = width / frame.width;
  const to = ([x, y]) => [(x + 0.5 - frame.x) * scale, (y + 0.5 - frame.y) * scale];
  const lay = (image) => {
    const [sx, sy] = [image.width / scene.picture.width, image.height / scene.picture.height]; // restored may be smaller
    context.drawImage(image, sx * frame.x, sy * frame.y, sx * frame.width, sy * frame.height, 0, 0, width, height);
  };
  const marks = (faces, side) =>
    drawFaces(context, faces, { ...scene, selected: scene.selected?.side === side ? scene.selected : null }, to, ratio);
  context.clearRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  lay(scene.picture);
  lay(scene.paint);
  if (!scene.restoration) {
    marks(scene.faces, "faces");
  } else {
    const edge = width * scene.split;
    clipped(context, 0, edge, height, () => marks(scene.faces, "faces"));
    clipped(context, edge, width - edge, height, () => {
      lay(scene.restoration.bitmap);
      marks(scene.after, "after");
    });
    if (scene.split > 0 && scene.split < 1) divider(context, edge, height, ratio);
  }
  if (scene.draft) {
    const style = getComputedStyle(document.documentElement).getPropertyValue("--box").trim();
    drawBox(context, corners(scene.draft, to), style, 0, ratio, true);
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

function divider(context, x, height, ratio) {
  context.fillStyle = "rgb(0 0 0 / 0.5)";
  context.fillRect(x - 2 * ratio, 0, 4 * ratio, height);
  context.fillStyle = "white";
  context.fillRect(x - ratio, 0, 2 * ratio, height);
  ring(context, [x, height / 2], 9 * ratio, ratio);
}
