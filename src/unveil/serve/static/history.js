/* What is edited, as snapshots that never change. Undo and redo are exact, whatever an edit was. */

const STEPS = 200;

export class History {
  #past = [];
  #future = [];
  #label = null;

  /** `changed` is called after every change of `now`. */
  constructor(changed) {
    this.changed = changed;
    this.now = null;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** Starts again. */
  reset(first) {
    [this.#past, this.#future, this.#label, this.now] = [[], [], null, first];
    this.changed();
  }

  /** A new step. Consecutive edits with the same label, the moves of one drag for example, are one step. */
  edit(next, label = null) {
    if (label === null || label !== this.#label) this.#past = [...this.#past.slice(1 - STEPS), this.now];
    [this.#future, this.#label, this.now] = [[], label, { ...this.now, ...next }];
    this.changed();
  }

  /** Completes the present step with what the service returned. */
  settle(next) {
    [this.#label, this.now] = [null, { ...this.now, ...next }];
    this.changed();
  }

  /** One step back; false if there is none. */
  undo() {
    return this.#turn(this.#past, this.#future);
  }

  redo() {
    return this.#turn(this.#future, this.#past);
  }

  #turn(from, to) {
    if (!from.length) return false;
    to.push(this.now);
    [this.#label, this.now] = [null, from.pop()];
    this.changed();
    return true;
  }
}
