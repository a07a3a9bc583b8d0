/* Faces on a canvas: boxes, contours, landmarks, their numbers and their expected errors. */

import { bounds, isVisible } from "./face.js";

/** Draws faces. `to` maps a place in the picture to one on the canvas, which has `ratio` pixels per CSS pixel. */
export function drawFaces(context, faces, { scheme, show, selected = null, handles = false }, to, ratio) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  faces.forEach((face, index) => {
    const points = face.landmarks.map(to);
    const [left, top, right, bottom] = corners(bounds(face), to);
    const size = Math.hypot(right - left, bottom - top);
    const radius = Math.max(1.8 * ratio, size / 110);
    if (show.boxes || handles || !points.length) drawBox(context, corners(face.box, to), colour("box"), size, ratio, handles);
    if (show.uncertainty && face.uncertainty) circles(context, face, to, colour("box"), ratio);
    if (show.contours && points.length) contours(context, points, scheme.contours, size, ratio);
    if (show.points) {
      points.forEach((point, i) => {
        const visible = isVisible(face, i, scheme.visibility_threshold);
        (visible ? dot : cross)(context, point, radius, colour(visible ? "seen" : "hidden"), colour("rim"));
      });
    }
    if (show.numbers) numbers(context, points, radius, Math.max(9 * ratio, size / 45));
    if (faces.length > 1) label(context, String(index), (left + right) / 2, top, Math.max(13 * ratio, size / 14), ratio);
    if (selected?.face === index && points[selected.point]) ring(context, points[selected.point], 2.2 * radius + 3 * ratio, ratio);
  });
}

/** A white circle with a dark rim, seen on every picture. */
export function ring(context, [x, y], radius, ratio) {
  for (const [stroke, width] of [["rgb(0 0 0 / 0.6)", 3 * ratio], ["white", 1.5 * ratio]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
  }
}

/** A box with a dark rim; with handles, squares that can be dragged at its corners. */
export function drawBox(context, [x0, y0, x1, y1], colour, size, ratio, handles) {
  const width = Math.max(1.5 * ratio, size / 200);
  for (const [stroke, lineWidth] of [["rgb(0 0 0 / 0.6)", 2.2 * width], [colour, width]]) {
    context.strokeStyle = stroke;
    context.lineWidth = lineWidth;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }
  if (!handles) return;
  for (const [x, y] of [[x0, y0], [x1, y0], [x0, y1], [x1, y1]]) {
    for (const [fill, reach] of [["rgb(0 0 0 / 0.8)", 5.5 * ratio], [colour, 4 * ratio]]) {
      context.fillStyle = fill;
      context.fillRect(x - reach, y - reach, 2 * reach, 2 * reach);
    }
  }
}

export const corners = ([x0, y0, x1, y1], to) => [...to([x0, y0]), ...to([x1, y1])];

function circles(context, face, to, colour, ratio) {
  context.save();
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = ratio;
  face.landmarks.forEach(([x, y], i) => {
    const [[cx, cy], [ex]] = [to([x, y]), to([x + face.uncertainty[i], y])];
    context.beginPath();
    context.arc(cx, cy, ex - cx, 0, 2 * Math.PI);
    context.globalAlpha = 0.25;
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
  });
  context.restore();
}

function contours(context, points, lines, size, ratio) {
  const width = Math.max(ratio, size / 300);
  context.lineJoin = "round";
  for (const [stroke, lineWidth] of [["rgb(0 0 0 / 0.55)", 2.4 * width], ["white", width]]) { // also on white
    context.strokeStyle = stroke;
    context.lineWidth = lineWidth;
    for (const line of lines) {
      context.beginPath();
      line.points.forEach((i, n) => (n ? context.lineTo(...points[i]) : context.moveTo(...points[i])));
      if (line.closed) context.closePath();
      context.stroke();
    }
  }
}

function dot(context, [x, y], radius, colour, rim) {
  for (const [fill, reach] of [[rim, 1.3 * radius], [colour, radius]]) {
    context.fillStyle = fill;
    context.beginPath();
    context.arc(x, y, reach, 0, 2 * Math.PI);
    context.fill();
  }
}

function cross(context, [x, y], radius, colour, rim) {
  for (const [stroke, width, reach] of [[rim, 1.3 * radius, 1.3 * radius], [colour, 0.7 * radius, radius]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x - reach, y - reach);
    context.lineTo(x + reach, y + reach);
    context.moveTo(x - reach, y + reach);
    context.lineTo(x + reach, y - reach);
    context.stroke();
  }
}

function numbers(context, points, radius, height) {
  context.font = `${height}px system-ui, sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  points.forEach(([x, y], i) => outlined(context, i, x + 1.6 * radius, y, height / 4));
}

/** The number of a face above its landmarks; below the picture's edge if there is no room. */
function label(context, text, x, y, height, ratio) {
  context.font = `700 ${height}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "bottom";
  outlined(context, text, Math.max(x, height / 2), Math.max(y - 3 * ratio, height + 2 * ratio), height / 5);
}

function outlined(context, text, x, y, width) {
  context.lineJoin = "round";
  context.lineWidth = width;
  context.strokeStyle = "rgb(0 0 0 / 0.75)";
  context.fillStyle = "white";
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}
