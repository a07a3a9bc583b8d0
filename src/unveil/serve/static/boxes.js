/* The tool that draws a box around a face, or moves one that is there, by pointer or by keyboard. */

const REACH = { touch: 22, mouse: 12 }; // CSS pixels about a corner
const STEP = 0.01; // of the picture's shorter side, for an arrow key
const LEAST = 8; // CSS pixels of a box's side; a smaller one was a click
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class BoxTool {
  /** `faces()` are the faces shown, `placed(index, box)` is called when a box is done, `moved` when it changed.
      An index beyond the faces is that of a new one: infinity, since faces may be found meanwhile. */
  constructor(view, { faces, placed, moved }) {
    Object.assign(this, { view, faces, placed, moved });
    this.draft = null; // {index, box}
    this.drag = null; // from a place to the box
  }

  down(at, { pointerType }) {
    const reach = this.view.reach(pointerType === "touch" ? REACH.touch : REACH.mouse);
    const boxes = this.faces().map((face) => face.box);
    const [corner] = boxes.flatMap((box, index) => opposite(box, at, reach).map((anchor) => ({ index, anchor })));
    const inside = boxes.findIndex(([x0, y0, x1, y1]) => at[0] > x0 && at[0] < x1 && at[1] > y0 && at[1] < y1);
    if (corner || inside < 0) {
      const anchor = corner?.anchor ?? this.#inPicture(at);
      this.draft = { index: corner?.index ?? Infinity, box: [...anchor, ...anchor] };
      this.drag = (to) => spanned(anchor, this.#inPicture(to));
      if (corner) this.draft.box = boxes[corner.index];
    } else {
      this.draft = { index: inside, box: boxes[inside] };
      this.drag = (to) => this.#shifted(boxes[inside], to[0] - at[0], to[1] - at[1]);
    }
    this.moved();
    return true;
  }

  move(at, pressed) {
    if (!pressed || !this.drag) return;
    this.draft.box = this.drag(at);
    this.moved();
  }

  up() {
    this.drag = null;
    if (this.draft) this.#place();
  }

  away() {
    if (!this.draft) return;
    this.draft = null;
    this.moved();
  }

  /** Arrow keys move the box, with Shift they move its lower right corner. N takes the next box, Enter ends. */
  key({ key, shiftKey, ctrlKey, metaKey }) {
    if (ctrlKey || metaKey) return false;
    if (key === "Escape" && this.draft) this.draft = null;
    else if (key === "Enter" && this.draft) this.#place();
    else if (key === "n" || key === "N") this.#take((this.draft?.index ?? -1) + 1);
    else if (key in ARROWS || key === "Enter" || key === " ") this.#adjust(ARROWS[key] ?? [0, 0], shiftKey);
    else return false;
    this.moved();
    return true;
  }

  #adjust(direction, resize) {
    if (!this.draft) return this.#take(0);
    const { width, height } = this.view.scene.picture;
    const [dx, dy] = direction.map((sign) => sign * STEP * Math.min(width, height));
    const [x0, y0, x1, y1] = this.draft.box;
    this.draft.box = resize ? spanned([x0, y0], this.#inPicture([x1 + dx, y1 + dy])) : this.#shifted(this.draft.box, dx, dy);
  }

  /** Takes the box of a face; beyond the last one, a new box in the middle of what is in view. */
  #take(index) {
    const faces = this.faces();
    const { x, y, width, height } = this.view.frame;
    const half = Math.min(width, height) / 6;
    const [cx, cy] = [x + width / 2, y + height / 2];
    const taken = index > faces.length ? 0 : index;
    this.draft = { index: taken, box: faces[taken]?.box ?? [cx - half, cy - half, cx + half, cy + half] };
  }

  #place() {
    const { index, box } = this.draft;
    this.draft = null;
    const least = this.view.reach(LEAST);
    const same = this.faces()[index]?.box.every((value, i) => value === box[i]);
    if (!same && box[2] - box[0] >= least && box[3] - box[1] >= least) this.placed(index, box);
    this.moved();
  }

  #inPicture([x, y]) {
    const { width, height } = this.view.scene.picture;
    return [Math.min(Math.max(x, 0), width - 1), Math.min(Math.max(y, 0), height - 1)];
  }

  #shifted([x0, y0, x1, y1], dx, dy) {
    const { width, height } = this.view.scene.picture;
    const [sx, sy] = [Math.min(Math.max(dx, -x0), width - 1 - x1), Math.min(Math.max(dy, -y0), height - 1 - y1)];
    return [x0 + sx, y0 + sy, x1 + sx, y1 + sy];
  }
}

const spanned = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];

/** The corner opposite to the one within reach, in a list; empty if none is. */
function opposite([x0, y0, x1, y1], [x, y], reach) {
  const pairs = [[x0, y0, x1, y1], [x1, y0, x0, y1], [x0, y1, x1, y0], [x1, y1, x0, y0]];
  return pairs.filter(([cx, cy]) => Math.hypot(cx - x, cy - y) <= reach).map(([, , ox, oy]) => [ox, oy]);
}
