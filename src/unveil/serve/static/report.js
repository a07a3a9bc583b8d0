/* Faces in words: the same for eyes and for screen readers. */

/** One line on all faces. */
export function summary(faces) {
  if (!faces.length) return "No face found. Try a larger or brighter one.";
  return faces.length === 1 ? "1 face" : `${faces.length} faces`;
}

/** One line on one face: how many landmarks are seen, which parts are hidden; less if the model does not say. */
export function describe(face, scheme) {
  if (!face.visibility) return `${scheme.points} landmarks.`;
  const seen = face.visibility.map((value) => value >= scheme.visibility_threshold);
  const count = seen.filter(Boolean).length;
  const parts = hiddenParts(seen, scheme.point_names);
  const hidden = parts.length ? ` Hidden: ${parts.join(", ")}.` : "";
  return `${count} of ${scheme.points} landmarks seen.${hidden}`;
}

/** Parts of which more than half is hidden; a landmark's name is its part's and a number. */
function hiddenParts(seen, names) {
  const parts = new Map();
  names.forEach((name, i) => {
    const part = name.replace(/ \d+$/, "");
    const [hidden, all] = parts.get(part) ?? [0, 0];
    parts.set(part, [hidden + (seen[i] ? 0 : 1), all + 1]);
  });
  return [...parts].filter(([, [hidden, all]]) => hidden > all / 2).map(([part]) => part);
}
