/* Files for the user: landmarks in the formats of POST /convert, and pictures. Nothing else leaves the page. */

import { toRecord } from "./face.js";
import * as service from "./service.js";

/** Saves the faces in a format of POST /convert. `answer` names the picture's size, the model and the scheme. */
export async function saveLandmarks(kind, name, faces, answer, threshold, signal) {
  const { width, height, model, scheme } = answer;
  const record = { image: name, width, height, model, scheme, faces: faces.map((face) => toRecord(face, threshold)) };
  const { blob, ending } = await service.convert(record, kind, signal);
  saveAs(blob, `${stem(name)}.${ending}`);
}

/** Offers a blob as a file of this name. */
export function saveAs(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A file's name without its suffix. */
export const stem = (name) => name.replace(/\.[^.]*$/, "") || "image";
