/* The page: its controls act on the session, and show what the session knows. */

import { BoxTool } from "./boxes.js";
import { Brush } from "./brush.js";
import * as camera from "./camera.js";
import { Compare } from "./compare.js";
import { saveAs, saveLandmarks, stem } from "./downloads.js";
import { isVisible, scaled } from "./face.js";
import { FaceList } from "./face_list.js";
import { askKey } from "./key.js";
import { drawFaces } from "./marks.js";
import { PointsTool } from "./points.js";
import { describe, describePoint, summary } from "./report.js";
import * as service from "./service.js";
import { Session } from "./session.js";
import { toPng, View } from "./view.js";

const SWITCHES = ["points", "contours", "numbers", "boxes", "uncertainty", "details"];
const LABELS = {
  move: "Landmarks: arrow keys move the selected one, N and P select another, V changes whether it is visible, Delete deletes its face",
  draw: "Boxes: arrow keys move the box, with Shift they change its size, N takes the next one, Enter finds the face in it",
  paint: "Paint: arrow keys move the brush, Space paints",
};
const byId = (id) => document.getElementById(id);

let close = null; // the number of the face that fills the view

const session = new Session({ changed: render, opened, paint: () => brush.layer, said: say, done: tell });
const { history, about } = session;
const view = new View(byId("view"), byId("shown"));
const shown = (side) => session.shown(side);
const tools = {
  move: new PointsTool(view, {
    faces: shown, side: () => chosenSide(), change: (...face) => session.change(...face), remove, selected: render, threshold: () => session.threshold,
  }),
  draw: new BoxTool(view, { faces: shown, placed: (index, box) => session.placeBox(index, box), moved: show }),
  paint: new Brush(view, { painted: (stroke) => session.repaint([...history.now.strokes, stroke]), moved: show }),
};
const brush = tools.paint;
const compare = new Compare(view, (share) => {
  byId("compare").value = 100 * share;
  show();
});
const list = new FaceList(byId("faces"), { closeUp: turnCloseUp, remove });

/** Which landmarks are listed and saved. */
const chosenSide = () => (history.now?.restoration ? byId("which").value : "faces");

const switches = () => Object.fromEntries(SWITCHES.map((id) => [id, byId(id).checked]));

/** Draws the picture. */
function show() {
  if (!history.now) return;
  const { restoration } = history.now;
  const split = byId("compare").value / 100;
  view.set({
    picture: session.photo.picture, paint: brush.layer, faces: shown(), after: shown("after"), restoration, split,
    scheme: about.scheme, show: switches(), selected: byId("move").checked ? tools.move.selected : null,
    handles: byId("draw").checked, draft: tools.draw.draft?.box, cursor: brush.cursor,
  });
  byId("before").hidden = !restoration || split < 0.15;
  byId("after").hidden = !restoration || split > 0.85;
}

/** Brings the whole page to the present state. */
function render() {
  const { now } = history;
  if (close !== null && !shown(chosenSide())[close]) {
    close = null;
    if (now) view.whole();
  }
  byId("desk").hidden = !now;
  byId("empty").hidden = Boolean(now);
  byId("stage").setAttribute("aria-busy", String(session.working));
  if (session.working) byId("again").hidden = true;
  byId("why").hidden = !about.scheme || about.restorer;
  enable();
  for (const each of document.querySelectorAll(".restored")) each.hidden = !now?.restoration;
  list.show(shown(chosenSide()).map((face) => describe(face, about.scheme, switches())), close);
  const { face, selected } = tools.move;
  byId("point").textContent = face ? describePoint(face, selected.point, about.scheme) : "No point selected";
  byId("visible").checked = Boolean(face) && isVisible(face, selected.point, session.threshold);
  byId("least").value = 100 * (now?.least ?? 0);
  byId("least-value").textContent = byId("least").value;
  if (now) brush.show(now.strokes);
  show();
}

/** Which controls can be used: while the service works, those that wait for its answer cannot. */
function enable() {
  const ready = Boolean(history.now) && !session.working && !session.stale;
  for (const id of ["uncover", "download", "filter"]) byId(id).disabled = !ready;
  byId("restore").disabled = !about.restorer || !ready || !shown().length;
  for (const each of document.querySelectorAll("[data-save]")) {
    each.disabled = !ready || (each.dataset.save !== "png" && !shown(chosenSide()).length);
  }
  byId("undo").disabled = !history.canUndo;
  byId("redo").disabled = !history.canRedo;
  byId("clear").disabled = !history.now?.strokes.length;
  byId("visible").disabled = byId("remove").disabled = !tools.move.face;
}

function say(text, wrong = false, again = null) {
  byId("status").textContent = text;
  byId("status").classList.toggle("wrong", wrong);
  byId("again").hidden = !again;
  byId("again").onclick = again;
}

function tell() {
  const { faces, restoration } = history.now;
  const all = chosenSide() === "after" ? restoration.after : faces ?? [];
  const visible = shown(chosenSide());
  say(summary(visible, all.length - visible.length));
}

function opened(bitmap) {
  tools.move.selected = tools.draw.draft = close = null;
  brush.reset(bitmap);
}

async function restore() {
  [byId("compare").value, byId("which").value] = [50, "after"];
  await session.restore();
  if (history.now?.restoration) byId("compare").focus();
}

function remove(index) {
  if (close !== null) turnCloseUp(close);
  tools.move.selected = null;
  session.remove(index);
}

function turnCloseUp(index) {
  close = close === index ? null : index;
  if (close === null) view.whole();
  else view.closeUp(shown(chosenSide())[index]);
  render();
}

async function save(kind) {
  const { photo } = session;
  const [side, base] = [chosenSide(), stem(photo.name)];
  await session.busy("Saving…", () => save(kind), async (signal) => {
    const { restoration } = history.now;
    if (kind === "png") saveAs(await toPng(view.scene), `${base}.overlay.png`);
    else if (kind === "restored") saveAs(restoration.picture, `${base}.restored.png`);
    else if (kind === "mask") saveAs(restoration.mask, `${base}.mask.png`);
    else {
      const name = side === "after" ? `${base}.restored.png` : photo.name;
      let [faces, answer] = [shown(side), photo.answer];
      if (side === "after") { // the service may restore a large picture at a smaller size
        const { width, height } = restoration.bitmap;
        faces = faces.map((face) => scaled(face, width / photo.picture.width));
        answer = { ...answer, width, height };
      }
      await saveLandmarks(kind, name, faces, answer, session.threshold, signal);
    }
  });
}

async function film() {
  await session.connect();
  if (!about.scheme) return;
  const find = (blob, signal) => service.align({ name: "live.jpg", blob }, null, signal);
  const paint = (context, faces, to, ratio) => drawFaces(context, faces, { scheme: about.scheme, show: switches() }, to, ratio);
  document.body.classList.add("filming");
  byId("film").disabled = byId("choose").disabled = true;
  let blob = null;
  try {
    blob = await camera.takePicture(byId("camera"), find, paint);
  } catch (error) {
    const why = error.name === "NotFoundError" ? "No camera was found." : "Has the browser been told to allow it?";
    say(`The camera cannot be used. ${why}`, true);
  }
  document.body.classList.remove("filming");
  byId("film").disabled = byId("choose").disabled = false;
  byId("film").focus();
  if (blob) await session.open(blob, "camera.jpg");
}

/** Turns a tool on or off; at most one is on, and it takes the focus so that its keys work. */
function use(name, on) {
  for (const each of Object.keys(tools)) {
    byId(each).checked = on && each === name;
    byId(`${each}-options`).hidden = !byId(each).checked;
  }
  view.use(on ? tools[name] : compare);
  const { canvas } = view;
  canvas.dataset.tool = on ? name : "";
  canvas.setAttribute("role", on ? "application" : "img");
  canvas.setAttribute("aria-label", on ? LABELS[name] : "The photograph with its landmarks");
  if (on) canvas.tabIndex = 0;
  else canvas.removeAttribute("tabindex");
  if (on) canvas.focus({ preventScroll: true });
  render();
}

function openFirst(files) {
  const file = [...files].find((each) => each.type.startsWith("image/")) ?? files[0];
  if (file) session.open(file, file.name || "image");
}

async function openSample() {
  const response = await fetch("static/sample.jpg").catch(() => null);
  if (response?.ok) await session.open(await response.blob(), "sample.jpg");
  else say("The service does not answer. Is it still running?", true);
}

function onKey(event) {
  if (byId("key").open) return;
  if (event.key === "Escape" && event.target === view.canvas && !event.defaultPrevented) {
    const on = Object.keys(tools).find((name) => byId(name).checked);
    use(on, false);
    byId(on).focus();
  } else if ((event.ctrlKey || event.metaKey) && "zZyY".includes(event.key)) {
    event.preventDefault();
    if (event.key.toLowerCase() === "z" && !event.shiftKey) session.undo();
    else session.redo();
  }
}

function wire() {
  service.hooks.askKey = (wrong) => askKey(byId("key"), wrong);
  service.hooks.waiting = (seconds) => say(`The service is busy. Trying again in ${seconds} s…`);
  const clicks = {
    choose: () => byId("file").click(), sample: openSample, film, restore, remove: () => remove(tools.move.selected.face),
    undo: () => session.undo(), redo: () => session.redo(), clear: () => session.repaint([]), detect: () => session.detect(),
    previous: () => tools.move.step(-1), next: () => tools.move.step(1),
  };
  for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", action);
  byId("empty").addEventListener("click", (event) => event.target.closest("button") ?? byId("file").click());
  byId("file").addEventListener("change", (event) => {
    openFirst(event.target.files);
    event.target.value = ""; // the same file again is a change, too
  });
  byId("film").disabled = !camera.possible();
  byId("film-hint").hidden = camera.possible();
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  byId("privacy").textContent = isLocal
    ? "Nothing leaves this machine." : `It goes to ${location.hostname}, which shows this page, and nowhere else.`;
  for (const id of SWITCHES) byId(id).addEventListener("input", render);
  byId("compare").addEventListener("input", show);
  byId("which").addEventListener("change", () => {
    render();
    tell();
  });
  byId("least").addEventListener("input", (event) => session.setLeast(event.target.value / 100));
  for (const name of Object.keys(tools)) byId(name).addEventListener("change", (event) => use(name, event.target.checked));
  byId("visible").addEventListener("change", () => tools.move.toggle());
  byId("size").addEventListener("input", (event) => (brush.share = event.target.value / 100));
  for (const ink of document.getElementsByName("ink")) ink.addEventListener("change", () => (brush.ink = ink.value));
  for (const each of document.querySelectorAll("[data-save]")) each.addEventListener("click", () => save(each.dataset.save));
  addEventListener("keydown", onKey);
  addEventListener("paste", (event) => openFirst(event.clipboardData.files));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      byId("stage").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  }
  addEventListener("drop", (event) => openFirst(event.dataTransfer.files));
}

wire();
view.use(compare);
render();
session.connect();
