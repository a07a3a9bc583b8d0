/* The page: a photograph is chosen, shown, covered, aligned again, restored and downloaded. */

import { Brush } from "./brush.js";
import * as camera from "./camera.js";
import { describe, summary } from "./report.js";
import * as service from "./service.js";
import { toPng, View } from "./view.js";

const TAKEN_AS_THEY_ARE = ["image/jpeg", "image/png", "image/webp", "image/bmp"]; // others are sent as PNG
const SWITCHES = ["points", "contours", "numbers", "boxes"];
const byId = (id) => document.getElementById(id);

const state = { name: "", original: null, picture: null, answer: null, faces: [], restored: null, after: [], close: null };
let scheme = null;
let restorer = false;
let running = new AbortController();

const view = new View(byId("view"));
const brush = new Brush(view, { changed: () => realign(), moved: () => show() });

function show() {
  if (!state.picture) return;
  const { picture, faces, restored, after } = state;
  const switches = Object.fromEntries(SWITCHES.map((id) => [id, byId(id).checked]));
  const split = byId("compare").value / 100;
  view.set({ picture, faces, restored, after, split, scheme, show: switches, paint: brush.layer, cursor: brush.cursor });
}

function say(text, wrong = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("wrong", wrong);
}

function controls() {
  byId("cover").disabled = byId("uncover").disabled = !state.picture;
  byId("undo").disabled = byId("clear").disabled = !brush.strokes.length;
  byId("download").disabled = !state.answer;
  byId("restore").disabled = !restorer || !state.faces.length;
  byId("compare-label").hidden = !state.restored;
}

/** Takes a file of any kind that the browser can show. */
async function open(blob, name) {
  let picture;
  await started;
  if (!scheme) return;
  try {
    picture = await createImageBitmap(blob);
  } catch {
    running.abort();
    Object.assign(state, { original: null, picture: null, answer: null, faces: [], restored: null, after: [], close: null });
    byId("faces").replaceChildren();
    byId("shown").hidden = true;
    byId("empty").hidden = false;
    byId("stage").setAttribute("aria-busy", "false");
    controls();
    say(`${name}: the file is damaged, or this browser cannot decode it. Try a JPEG or PNG.`, true);
    return;
  }
  Object.assign(state, { name, original: blob, picture, faces: [], close: null });
  brush.reset(picture);
  byId("empty").hidden = true;
  byId("shown").hidden = false;
  await realign();
}

/** Asks about the picture as it is shown, paint included; an earlier question is dropped. */
async function realign() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  Object.assign(state, { answer: null, restored: null, after: [] });
  controls();
  show();
  await busy(signal, "Looking for faces…", async () => {
    const text = await (await service.align(await upload(), "json", signal)).text();
    state.answer = text;
    state.faces = JSON.parse(text).faces;
    tell();
  });
}

async function restore() {
  const { signal } = running;
  await busy(signal, "Restoring…", async () => {
    const answer = await service.restore(await upload(), signal);
    const pixels = Uint8Array.from(atob(answer.restored), (character) => character.charCodeAt(0));
    state.restored = await createImageBitmap(new Blob([pixels], { type: "image/png" }));
    state.after = answer.after;
    byId("compare").value = 50;
    tell();
  });
  byId("compare").focus();
}

async function busy(signal, text, work) {
  byId("stage").setAttribute("aria-busy", "true");
  say(text);
  try {
    await work();
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (!(error instanceof service.ServiceError)) console.error(error);
    state.faces = state.answer ? state.faces : [];
    byId("faces").replaceChildren();
    say(error instanceof service.ServiceError ? error.message : "Something went wrong on this page.", true);
  }
  if (signal.aborted) return;
  byId("stage").setAttribute("aria-busy", "false");
  controls();
  show();
}

function tell() {
  say(summary(state.faces));
  const lines = state.faces.map((face, i) => {
    const line = document.createElement("li");
    line.append(`${state.faces.length > 1 ? `${i}: ` : ""}${describe(face, scheme)}`, closeUp(face, i));
    return line;
  });
  byId("faces").replaceChildren(...lines);
}

/** The button that fills the view with one face, and with the whole picture again. */
function closeUp(face, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Close-up";
  button.setAttribute("aria-pressed", String(state.close === index));
  if (state.faces.length > 1) button.setAttribute("aria-label", `Close-up of face ${index}`);
  button.addEventListener("click", () => {
    state.close = state.close === index ? null : index;
    if (state.close === null) view.whole();
    else view.closeUp(face);
    for (const other of byId("faces").querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other === button && state.close !== null));
    }
  });
  return button;
}

/** The picture as it is sent: the file itself until something is painted on it. */
async function upload() {
  if (!brush.strokes.length && TAKEN_AS_THEY_ARE.includes(state.original.type)) {
    return { name: state.name, blob: state.original };
  }
  const canvas = new OffscreenCanvas(state.picture.width, state.picture.height);
  const context = canvas.getContext("2d");
  context.drawImage(state.picture, 0, 0);
  context.drawImage(brush.layer, 0, 0);
  const kind = brush.strokes.length ? { type: "image/jpeg", quality: 0.95 } : { type: "image/png" };
  return { name: state.name, blob: await canvas.convertToBlob(kind) };
}

async function save(kind) {
  const makers = {
    json: async () => new Blob([state.answer], { type: "application/json" }),
    png: async () => toPng(view.scene),
    pts: async () => service.align(await upload(), "pts"),
    csv: async () => service.align(await upload(), "csv"),
  };
  try {
    const blob = await makers[kind]();
    const end = { png: "overlay.png", pts: blob.type === "application/zip" ? "pts.zip" : "pts" }[kind] ?? kind;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${state.name.replace(/\.[^.]*$/, "") || "image"}.${end}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) {
    say(error.message, true);
  }
}

async function film() {
  const covered = state.picture ? byId("shown") : byId("empty");
  try {
    covered.hidden = true;
    const blob = await camera.takePicture(byId("camera"), byId("shoot"), byId("leave"));
    covered.hidden = false;
    if (blob) await open(blob, "camera.jpg");
  } catch {
    covered.hidden = false;
    say("The camera cannot be used. Has the browser been told to allow it?", true);
  }
  byId("film").focus();
}

function paint(on) {
  brush.active = on;
  brush.cursor = null;
  byId("brush").hidden = !on;
  const canvas = view.canvas;
  canvas.classList.toggle("painting", on);
  canvas.setAttribute("role", on ? "application" : "img");
  canvas.setAttribute("aria-label", on ? "Paint: arrow keys move the brush, Space paints" : "The photograph with its landmarks");
  if (on) canvas.tabIndex = 0;
  else canvas.removeAttribute("tabindex");
  show();
}

function openFirst(files) {
  const file = [...files].find((each) => each.type.startsWith("image/")) ?? files[0];
  if (file) open(file, file.name || "image");
}

function wire() {
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("empty").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    openFirst(event.target.files);
    event.target.value = ""; // the same file again is a change, too
  });
  byId("film").disabled = byId("film-hint").hidden = !camera.possible();
  byId("film-hint").hidden = camera.possible();
  byId("film").addEventListener("click", film);
  for (const id of [...SWITCHES, "compare"]) byId(id).addEventListener("input", show);
  byId("paint").addEventListener("change", (event) => paint(event.target.checked));
  byId("size").addEventListener("input", (event) => (brush.share = event.target.value / 100));
  for (const ink of document.getElementsByName("ink")) ink.addEventListener("change", () => (brush.ink = ink.value));
  byId("undo").addEventListener("click", () => brush.undo());
  byId("clear").addEventListener("click", () => brush.clear());
  byId("restore").addEventListener("click", restore);
  for (const button of document.querySelectorAll("[data-save]")) {
    button.addEventListener("click", () => save(button.dataset.save));
  }
  addEventListener("keydown", (event) => {
    if (event.key === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey) brush.undo();
  });
  addEventListener("paste", (event) => openFirst(event.clipboardData.files));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      byId("stage").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  }
  addEventListener("drop", (event) => openFirst(event.dataTransfer.files));
}

async function start() {
  wire();
  controls();
  try {
    const [names, about] = await Promise.all([service.scheme(), service.health()]);
    scheme = names;
    restorer = about.restorer;
    byId("why").hidden = restorer;
    controls();
  } catch (error) {
    say(error.message, true);
  }
}

const started = start();
