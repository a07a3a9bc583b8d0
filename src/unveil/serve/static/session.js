/* One photograph at a time, what is known about it, and the work that the service does on it.

   `photo` is what does not change while a photograph is edited, `history.now` all that does: {strokes, faces,
   restoration, least}. Whatever in it is stale is asked from the service by `sync`. */

import { boxed, outdated, renewed } from "./face.js";
import { History } from "./history.js";
import { decode, encode } from "./picture.js";
import * as service from "./service.js";

const NOTHING = { name: "", file: null, picture: null, answer: null };

export class Session {
  #running = new AbortController();

  /** The page's part: `changed()` shows the present state, `opened(bitmap)` prepares for another picture, `paint()`
      returns the layer with the strokes, `said(text, wrong, again)` shows a line, `done()` one on the result. */
  constructor(page) {
    this.page = page;
    this.about = { scheme: null, restorer: false, boxes: 64 };
    this.photo = NOTHING;
    this.history = new History(page.changed);
    this.working = false;
  }

  /** Asks what the service can do, until it has answered once. */
  async connect() {
    if (this.about.scheme) return;
    try {
      const [scheme, health] = await Promise.all([service.scheme(), service.health()]);
      Object.assign(this.about, { scheme, restorer: health.restorer, boxes: health.limits.boxes });
      this.page.said("");
      this.page.changed();
    } catch (error) {
      this.page.said(error.message, true);
    }
  }

  /** The faces of the picture, or those "after" it was restored, as far as they have the least score. */
  shown(side = "faces") {
    if (!this.history.now) return [];
    const { faces, restoration, least } = this.history.now;
    return ((side === "after" ? restoration?.after : faces) ?? []).filter((face) => face.score >= least);
  }

  get stale() {
    return !this.history.now?.faces || this.history.now.faces.some((face) => face.stale);
  }

  get threshold() {
    return this.about.scheme.visibility_threshold;
  }

  /** Takes a file of any kind that the browser can show. */
  async open(blob, name) {
    const signal = this.#begin();
    await this.connect();
    if (!this.about.scheme || signal.aborted) return;
    const least = this.history.now?.least ?? 0;
    try {
      const { bitmap, file } = await decode(blob);
      if (signal.aborted) return;
      this.photo = { name, file, picture: bitmap, answer: null };
      this.page.opened(bitmap);
      this.history.reset({ strokes: [], faces: null, restoration: null, least });
    } catch {
      if (signal.aborted) return;
      this.photo = NOTHING;
      this.working = false;
      this.history.reset(null);
      this.page.said(`${name}: the file is damaged, or this browser cannot decode it. Try a JPEG or PNG.`, true);
      return;
    }
    await this.sync();
  }

  /** Asks for what is stale: all faces, or those whose box or whose pixels changed. */
  async sync() {
    const { history } = this;
    const stale = history.now.faces?.filter((face) => face.stale).slice(0, this.about.boxes);
    if (stale && !stale.length) {
      this.#begin();
      this.#work(false);
      this.page.done();
      return;
    }
    await this.busy("Looking for faces…", () => this.sync(), async (signal) => {
      const { faces, ...answer } = await service.align(await this.#upload(), stale?.map((face) => face.box), signal);
      signal.throwIfAborted();
      this.photo.answer = answer;
      const renew = (face) => (stale.includes(face) ? renewed(face, faces[stale.indexOf(face)]) : face);
      history.settle({ faces: stale ? history.now.faces.map(renew) : faces });
      if (this.stale) await this.sync();
    });
  }

  /** Removes what covers the faces that are shown; a step that can be undone. */
  async restore() {
    await this.busy("Restoring…", () => this.restore(), async (signal) => {
      const faces = this.shown();
      const answer = await service.restore(await this.#upload(), faces.map((face) => face.box), signal);
      const [picture, mask] = [answer.restored, answer.mask].map(toBlob);
      const after = answer.after.map((face, i) => ({ ...face, score: faces[i].score }));
      const bitmap = await createImageBitmap(picture);
      signal.throwIfAborted();
      this.history.edit({ restoration: { bitmap, picture, mask, after } });
    });
  }

  /** Does work that any later work ends. After an error the page offers to do it `again`. */
  async busy(text, again, task) {
    const signal = this.#begin();
    this.#work(true);
    this.page.said(text);
    try {
      await task(signal);
      if (signal.aborted) return;
      this.#work(false);
      this.page.done();
    } catch (error) {
      if (signal.aborted) return;
      this.#work(false);
      const known = error instanceof service.ServiceError;
      if (!known) console.error(error);
      this.page.said(known ? error.message : "Something went wrong on this page.", true, again);
    }
  }

  /** Replaces a face on one side. */
  change(side, old, next, label = null) {
    const swapped = (faces) => faces.map((face) => (face === old ? next : face));
    const { faces, restoration } = this.history.now;
    if (side === "after") this.history.edit({ restoration: { ...restoration, after: swapped(restoration.after) } }, label);
    else this.history.edit({ faces: swapped(faces) }, label);
  }

  /** Gives the face shown under this number another box; beyond the last one, adds a face. */
  placeBox(index, box) {
    const [face, faces] = [this.shown()[index], this.history.now.faces ?? []];
    const next = face ? faces.map((each) => (each === face ? boxed(box) : each)) : [...faces, boxed(box)];
    return this.#edit({ faces: next });
  }

  remove(index) {
    const face = this.shown()[index];
    return this.#edit({ faces: this.history.now.faces.filter((each) => each !== face) });
  }

  /** Other paint: known faces are aligned again in their boxes; where none is known, faces are looked for. */
  repaint(strokes) {
    const { faces } = this.history.now;
    return this.#edit({ strokes, faces: faces?.length ? faces.map(outdated) : null });
  }

  detect() {
    return this.#edit({ faces: null });
  }

  setLeast(least) {
    this.history.edit({ least, restoration: null }, "least");
    this.page.done();
  }

  undo() {
    return this.history.undo() && this.sync();
  }

  redo() {
    return this.history.redo() && this.sync();
  }

  /** A change of the picture or of its boxes: a restored picture is not of it any more. */
  #edit(next) {
    this.history.edit({ ...next, restoration: null });
    return this.sync();
  }

  /** The picture as it is sent: the file itself until something is painted on it. */
  async #upload() {
    const { name, file, picture } = this.photo;
    return { name, blob: this.history.now.strokes.length ? await encode(picture, this.page.paint()) : file };
  }

  #begin() {
    this.#running.abort();
    this.#running = new AbortController();
    return this.#running.signal;
  }

  #work(on) {
    this.working = on;
    this.page.changed();
  }
}

const toBlob = (base64) => new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type: "image/png" });
