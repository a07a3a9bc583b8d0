/* The tool without a tool: while a restored picture is shown, dragging moves the line between before and after. */

export class Compare {
  /** `moved(share)` is called with the divider's place, 0 to 1 of what is in view. */
  constructor(view, moved) {
    this.view = view;
    this.moved = moved;
  }

  down(at) {
    if (!this.view.scene.restoration) return false;
    this.move(at, true);
    return true;
  }

  move([x], pressed) {
    const { frame } = this.view;
    if (pressed) this.moved(Math.min(Math.max((x + 0.5 - frame.x) / frame.width, 0), 1));
  }
}
