/* The tool that paints over the photograph, by pointer or by keyboard. */

const STEP = 0.02; // of what is in view, for an arrow key
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Brush {
  /** `painted(stroke)` is called when a stroke ends, `moved` when only the look changed. */
  constructor(view, { painted, moved }) {
    this.view = view;
    this.painted = painted;
    this.moved = moved;
    this.laid = []; // the strokes that are on the layer
    this.stroke = null;
    this.layer = null;
    this.cursor = null;
    this.ink = "#151515";
    this.share = 0.12;
  }

  /** A new picture, without paint. */
  reset({ width, height }) {
    this.layer = new OffscreenCanvas(width, height);
    this.noise = noise(Math.max(1, Math.round(Math.min(width, height) / 128)));
    this.laid = [];
    this.stroke = this.cursor = null;
  }

  /** Brings the layer to these strokes. */
  show(strokes) {
    if (this.laid.some((stroke, i) => stroke !== strokes[i])) {
      this.layer.getContext("2d").clearRect(0, 0, this.layer.width, this.layer.height);
      this.laid = [];
    }
    for (const stroke of strokes.slice(this.laid.length)) this.#lay(stroke, 0);
    this.laid = strokes;
  }

  /** The shorter side of what is in view: in a close-up the brush is finer. */
  get side() {
    return Math.min(this.view.frame.width, this.view.frame.height);
  }

  get size() {
    return this.share * this.side;
  }

  down(at) {
    this.stroke = { ink: this.ink, size: this.size, places: [at] };
    this.#lay(this.stroke, 0);
    this.moved();
    return true;
  }

  move(at) {
    this.cursor = { at, size: this.size };
    if (this.stroke) {
      this.stroke.places.push(at);
      this.#lay(this.stroke, this.stroke.places.length - 2);
    }
    this.moved();
  }

  up() {
    const { stroke } = this;
    this.stroke = null;
    if (stroke) this.#end(stroke);
  }

  away() {
    if (!this.cursor) return;
    this.cursor = null;
    this.moved();
  }

  key({ key, ctrlKey, metaKey }) {
    if (ctrlKey || metaKey) return false;
    const { frame } = this.view;
    const [x, y] = this.cursor?.at ?? [frame.x + frame.width / 2, frame.y + frame.height / 2];
    if (key in ARROWS) {
      const [dx, dy] = ARROWS[key].map((sign) => sign * STEP * this.side);
      this.cursor = { at: [clamp(x + dx, frame.x, frame.width), clamp(y + dy, frame.y, frame.height)], size: this.size };
      this.moved();
      return true;
    }
    if (key !== " " && key !== "Enter") return false;
    this.cursor = { at: [x, y], size: this.size };
    const stroke = { ink: this.ink, size: this.size, places: [[x, y]] };
    this.#lay(stroke, 0);
    this.#end(stroke);
    return true;
  }

  #end(stroke) {
    this.laid = [...this.laid, stroke];
    this.painted(stroke);
  }

  /** Paints a stroke's places from the one numbered `from` on. */
  #lay({ ink, size, places }, from) {
    const context = this.layer.getContext("2d");
    context.strokeStyle = ink === "noise" ? context.createPattern(this.noise, "repeat") : ink;
    context.lineWidth = size;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    const [first, ...rest] = places.slice(from).map(([x, y]) => [x + 0.5, y + 0.5]);
    context.moveTo(...first);
    for (const place of rest.length ? rest : [first]) context.lineTo(...place);
    context.stroke();
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
