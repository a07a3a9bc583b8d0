/* One face as the page holds it: the service's record, and what was corrected by hand. Faces never change; every
   function returns a new one.

   `stale` faces have a box and wait for the service. `moved` and `visible` map the number of a landmark to whether it
   was moved, and to the visibility that was set. */

/** A face of which only the box is known. */
export const boxed = (box) => ({ box: box.map(round), score: 1, landmarks: [], stale: true });

/** The same face, to be aligned again in its box; its former landmarks are shown meanwhile. */
export const outdated = (face) => ({ ...face, stale: true });

/** What the service returned for a stale face. The detector's score and all corrections are kept. */
export function renewed(old, answer) {
  const landmarks = answer.landmarks.map((point, i) => (old.moved?.[i] ? old.landmarks[i] : point));
  return { ...answer, landmarks, score: old.score, moved: old.moved, visible: old.visible };
}

export function movePoint(face, i, point) {
  return { ...face, landmarks: face.landmarks.with(i, point.map(round)), moved: { ...face.moved, [i]: true } };
}

export const setVisible = (face, i, value) => ({ ...face, visible: { ...face.visible, [i]: value } });

/** Set by hand, else by the model's probability; a model that does not predict it counts as visible. */
export const isVisible = (face, i, threshold) => face.visible?.[i] ?? !(face.visibility?.[i] < threshold);

/** The face in a picture that is larger by this factor. Pixel centres are whole numbers, hence the half pixels. */
export function scaled(face, factor) {
  const [place, length] = [(value) => round((value + 0.5) * factor - 0.5), (value) => round(value * factor)];
  const landmarks = face.landmarks.map((point) => point.map(place));
  return { ...face, landmarks, box: face.box?.map(place), uncertainty: face.uncertainty?.map(length) };
}

/** x0, y0, x1, y1 of the landmarks, or the box where there are none. */
export function bounds({ landmarks, box }) {
  if (!landmarks.length) return box;
  const [xs, ys] = [landmarks.map(([x]) => x), landmarks.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** The record that POST /convert accepts. */
export function toRecord(face, threshold) {
  const { box, score, landmarks, visibility, uncertainty, pose } = face;
  const visible = face.visible ? { visible: landmarks.map((_, i) => isVisible(face, i, threshold)) } : {};
  return { box, score, landmarks, visibility, uncertainty, pose, ...visible };
}

const round = (value) => Math.round(100 * value) / 100;
