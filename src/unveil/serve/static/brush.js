/* Paint over the photograph, by pointer or by keyboard. Strokes are kept as what was drawn, so that undo is exact. */

const STEP = 0.02; // of what is in view, for an arrow key

export class Brush {
  /** `changed` is called when a stroke ends, is undone or cleared; `moved` when only the look changed. */
  constructor(view, { changed, moved }) {
    this.view = view;
    this.changed = changed;
    this.moved = moved;
    this.strokes = [];
    this.stroke = null;
    this.layer = null;
    this.cursor = null;
    this.ink = "#151515";
    this.share = 0.12;
    this.active = false;
    const canvas = view.canvas;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", () => this.end());
    canvas.addEventListener("pointercancel", () => this.end());
    canvas.addEventListener("pointerleave", () => this.away());
    canvas.addEventListener("blur", () => this.away());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** A new picture, without paint. */
  reset({ width, height }) {
    this.layer = new OffscreenCanvas(width, height);
    this.noise = noise(Math.max(1, Math.round(Math.min(width, height) / 128)));
    this.strokes = [];
    this.stroke = this.cursor = null;
  }

  /** The shorter side of what is in view: in a close-up the brush is finer. */
  get side() {
    return Math.min(this.view.frame.width, this.view.frame.height);
  }

  get size() {
    return this.share * this.side;
  }

  begin(event) {
    if (!this.active || event.button !== 0) return;
    event.preventDefault();
    this.view.canvas.focus({ preventScroll: true });
    this.view.canvas.setPointerCapture(event.pointerId);
    this.stroke = { ink: this.ink, size: this.size, places: [this.view.place(event)] };
    this.strokes.push(this.stroke);
    this.lay(this.stroke, 0);
  }

  move(event) {
    if (!this.active) return;
    const at = this.view.place(event);
    this.cursor = { at, size: this.size };
    if (this.stroke) {
      this.stroke.places.push(at);
      this.lay(this.stroke, this.stroke.places.length - 2);
    }
    this.moved();
  }

  end() {
    if (!this.stroke) return;
    this.stroke = null;
    this.changed();
  }

  away() {
    if (this.stroke || !this.cursor) return;
    this.cursor = null;
    this.moved();
  }

  key(event) {
    if (!this.active) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { frame } = this.view;
    const [x, y] = this.cursor?.at ?? [frame.x + frame.width / 2, frame.y + frame.height / 2];
    if (event.key in arrows) {
      const [dx, dy] = arrows[event.key].map((sign) => sign * STEP * this.side);
      this.cursor = { at: [clamp(x + dx, frame.x, frame.width), clamp(y + dy, frame.y, frame.height)], size: this.size };
      this.moved();
    } else if (event.key === " " || event.key === "Enter") {
      this.cursor = { at: [x, y], size: this.size };
      this.strokes.push({ ink: this.ink, size: this.size, places: [[x, y]] });
      this.lay(this.strokes.at(-1), 0);
      this.changed();
    } else {
      return;
    }
    event.preventDefault();
  }

  undo() {
    if (!this.strokes.pop()) return;
    this.layAgain();
    this.changed();
  }

  clear() {
    if (!this.strokes.length) return;
    this.strokes = [];
    this.layAgain();
    this.changed();
  }

  layAgain() {
    this.layer.getContext("2d").clearRect(0, 0, this.layer.width, this.layer.height);
    for (const stroke of this.strokes) this.lay(stroke, 0);
  }

  /** Paints a stroke's places from the one numbered `from` on. */
  lay({ ink, size, places }, from) {
    const context = this.layer.getContext("2d");
    context.strokeStyle = ink === "noise" ? context.createPattern(this.noise, "repeat") : ink;
    context.lineWidth = size;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    const [first, ...rest] = places.slice(from).map(([x, y]) => [x + 0.5, y + 0.5]);
    context.moveTo(...first);
    for (const place of rest.length ? rest : [first]) context.lineTo(...place);
    context.stroke();
    this.moved();
  }
}

const clamp = (value, start, length) => Math.min(Math.max(value, start), start + length - 1);

/** A tile of grey noise whose grains are `grain` pixels wide. */
function noise(grain) {
  const tile = new OffscreenCanvas(64 * grain, 64 * grain);
  const context = tile.getContext("2d");
  for (let y = 0; y < 64; y++) {
    for (let x = 0; x < 64; x++) {
      const grey = Math.floor(Math.random() * 256);
      context.fillStyle = `rgb(${grey} ${grey} ${grey})`;
      context.fillRect(x * grain, y * grain, grain, grain);
    }
  }
  return tile;
}
