/* Faces in words: the same for eyes and for screen readers. */

import { isVisible } from "./face.js";

/** One line on all faces; `left` of them are below the least score. */
export function summary(faces, left = 0) {
  const below = left ? ` ${left} below the least score.` : "";
  if (!faces.length && !left) return "No face found. Draw a box from the eyebrows to the chin, or try a larger picture.";
  return `${faces.length === 1 ? "1 face" : `${faces.length} faces`}${below ? "." : ""}${below}`;
}

/** One line on one face: how many landmarks are visible, which parts are not, and on request what else is known. */
export function describe(face, scheme, show) {
  if (face.stale && !face.landmarks.length) return "A box.";
  return [landmarks(face, scheme), ...(show.details ? [details(face)] : []), ...(show.uncertainty ? [error(face)] : [])]
    .filter(Boolean).join(" ");
}

/** One landmark: for the line below the picture. */
export function describePoint(face, i, scheme) {
  const state = isVisible(face, i, scheme.visibility_threshold) ? "visible" : "occluded";
  return `${i}: ${scheme.point_names[i]}, ${state}`;
}

function landmarks(face, scheme) {
  if (!face.visibility && !face.visible) return `${scheme.points} landmarks.`;
  const visible = face.landmarks.map((_, i) => isVisible(face, i, scheme.visibility_threshold));
  const parts = occludedParts(visible, scheme.point_names);
  const occluded = parts.length ? ` Occluded: ${parts.join(", ")}.` : "";
  return `${visible.filter(Boolean).length} of ${scheme.points} landmarks visible.${occluded}`;
}

function details({ score, pose }) {
  const degrees = (value) => `${value < 0 ? "−" : ""}${Math.abs(Math.round(value))}°`;
  const turned = pose ? ` Yaw ${degrees(pose.yaw)}, pitch ${degrees(pose.pitch)}, roll ${degrees(pose.roll)}.` : "";
  return `Score ${score.toFixed(2)}.${turned}`;
}

function error({ uncertainty }) {
  if (!uncertainty) return "";
  const mean = uncertainty.reduce((sum, value) => sum + value, 0) / uncertainty.length;
  return `Expected error ${mean.toFixed(1)} pixels, ${Math.max(...uncertainty).toFixed(1)} at most.`;
}

/** Parts of which more than half is occluded; a landmark's name is its part's and a number. */
function occludedParts(visible, names) {
  const parts = new Map();
  names.forEach((name, i) => {
    const part = name.replace(/ \d+$/, "");
    const [occluded, all] = parts.get(part) ?? [0, 0];
    parts.set(part, [occluded + (visible[i] ? 0 : 1), all + 1]);
  });
  return [...parts].filter(([, [occluded, all]]) => occluded > all / 2).map(([part]) => part);
}
