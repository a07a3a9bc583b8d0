/* The tool that corrects landmarks: drag them, move them by arrow keys, set which are visible. */

import { isVisible, movePoint, setVisible } from "./face.js";

const REACH = { touch: 28, mouse: 14 }; // CSS pixels between a pointer and the landmark that it takes
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class PointsTool {
  /** `faces(side)` are the faces shown, `side()` is the one that is listed, `change(side, old, next, label)` replaces
      a face, `remove(index)` deletes one, `selected` is called when another landmark is selected. */
  constructor(view, { faces, side, change, remove, selected, threshold }) {
    Object.assign(this, { view, faces, side, change, remove, threshold });
    this.announce = selected;
    this.selected = null; // {side, face, point}
    this.drag = null;
  }

  /** The selected face; null if it is there no more. */
  get face() {
    return (this.selected && this.faces(this.selected.side)[this.selected.face]) ?? null;
  }

  down(at, { pointerType }) {
    const hit = this.#nearest(at, this.view.reach(pointerType === "touch" ? REACH.touch : REACH.mouse));
    if (!hit) return false;
    this.select(hit);
    const [x, y] = this.face.landmarks[hit.point];
    this.drag = { offset: [x - at[0], y - at[1]], label: Symbol("drag") };
    return true;
  }

  move(at, pressed) {
    if (!pressed || !this.drag || !this.face) return;
    const { offset, label } = this.drag;
    this.#place([at[0] + offset[0], at[1] + offset[1]], label);
  }

  up() {
    this.drag = null;
  }

  key({ key, shiftKey, ctrlKey, metaKey }) {
    if (ctrlKey || metaKey) return false;
    if (key in ARROWS) return this.#nudge(ARROWS[key], shiftKey ? 10 : 1);
    const action = {
      n: () => this.step(1), p: () => this.step(-1), v: () => this.toggle(),
      Delete: () => this.face && this.remove(this.selected.face),
    }[key.length === 1 ? key.toLowerCase() : key];
    action?.();
    return Boolean(action);
  }

  /** Selects the next landmark, or the one before; after a face's last one the next face's first one. */
  step(by) {
    const side = this.side();
    const all = this.faces(side).flatMap((face, i) => face.landmarks.map((_, point) => ({ side, face: i, point })));
    if (!all.length) return;
    const { selected } = this;
    const same = (each) => selected?.side === side && each.face === selected.face && each.point === selected.point;
    const now = all.findIndex(same);
    this.select(all[now < 0 ? 0 : (now + by + all.length) % all.length]);
  }

  select(selected) {
    this.selected = selected;
    this.announce();
  }

  /** Changes the selected landmark's visibility. */
  toggle() {
    const { face } = this;
    if (!face) return;
    const { side, point } = this.selected;
    this.change(side, face, setVisible(face, point, !isVisible(face, point, this.threshold())));
    this.announce();
  }

  #nudge([dx, dy], step) {
    if (!this.face) {
      this.step(1);
      return true;
    }
    const { side, face, point } = this.selected;
    const [x, y] = this.face.landmarks[point];
    this.#place([x + step * dx, y + step * dy], `keys ${side} ${face} ${point}`);
    return true;
  }

  #place([x, y], label) {
    const { width, height } = this.view.scene.picture;
    const place = [clamp(x, -0.5, width - 0.5), clamp(y, -0.5, height - 0.5)];
    this.change(this.selected.side, this.face, movePoint(this.face, this.selected.point, place), label);
  }

  #nearest(at, reach) {
    const side = this.view.sideAt(at);
    let best = null;
    this.faces(side).forEach((face, i) => face.landmarks.forEach(([x, y], point) => {
      const distance = Math.hypot(x - at[0], y - at[1]);
      if (distance <= (best?.distance ?? reach)) best = { distance, side, face: i, point };
    }));
    return best && { side: best.side, face: best.face, point: best.point };
  }
}

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
