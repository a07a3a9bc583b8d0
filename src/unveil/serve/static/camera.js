/* The camera: shown live, with landmarks over it at the rate that the machine gives, until a picture is taken. */

const LIVE_SIDE = 640; // pixels of a live picture's longer side: enough for the faces before a camera

export const possible = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** A JPEG from the camera; null if the user leaves. Throws what getUserMedia throws.

    `frame` contains the video, the canvas over it, and the elements of class `state`, `take` and `leave`.
    `find(blob, signal)` returns faces, `paint(context, faces, to, ratio)` draws them. */
export async function takePicture(frame, find, paint) {
  const [video, canvas] = [frame.querySelector("video"), frame.querySelector("canvas")];
  const [state, take, leave] = ["state", "take", "leave"].map((name) => frame.querySelector(`.${name}`));
  const ended = new AbortController();
  const { signal } = ended;
  const left = new Promise((resolve) => {
    leave.addEventListener("click", () => resolve(false), { signal });
    frame.addEventListener("keydown", (event) => event.key === "Escape" && resolve(false), { signal });
  });
  let stream = null;
  try {
    frame.hidden = false;
    frame.classList.add("pending");
    take.disabled = true;
    state.textContent = "Waiting for the camera. The browser may ask for your permission.";
    leave.focus();
    const asked = navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
    asked.then((late) => signal.aborted && stop(late), () => {});
    stream = (await Promise.race([asked, left])) || null;
    if (!stream) return null;
    video.srcObject = stream;
    await video.play();
    frame.classList.remove("pending");
    take.disabled = false;
    state.textContent = "";
    take.focus();
    follow(video, canvas, { find, paint, state, signal });
    const taken = new Promise((resolve) => take.addEventListener("click", () => resolve(true), { signal }));
    return (await Promise.race([taken, left])) ? await still(video) : null;
  } finally {
    ended.abort();
    if (stream) stop(stream);
    video.srcObject = null;
    frame.hidden = true;
  }
}

const stop = (stream) => stream.getTracks().forEach((track) => track.stop());

/** The present picture as a JPEG, no side longer than `side`. */
function still(video, side = Infinity) {
  const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
  const canvas = new OffscreenCanvas(Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale));
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: side < Infinity ? 0.85 : 0.95 });
}

/** Draws the landmarks of one picture after the other, each as soon as the former is answered. */
async function follow(video, canvas, { find, paint, state, signal }) {
  let rate = null;
  while (!signal.aborted) {
    const started = performance.now();
    try {
      const { faces, width } = await find(await still(video, LIVE_SIDE), signal);
      if (signal.aborted) break;
      const latency = performance.now() - started;
      overlay(video, canvas, faces, width, paint);
      await new Promise(requestAnimationFrame);
      const now = 1000 / (performance.now() - started);
      rate = rate === null ? now : 0.8 * rate + 0.2 * now;
      const count = faces.length === 1 ? "1 face" : `${faces.length || "no"} faces`;
      state.textContent = `${count}, latency ${Math.round(latency)} ms, ${rate.toFixed(1)} pictures a second`;
    } catch (error) {
      if (!signal.aborted) state.textContent = `No live landmarks: ${error.message}`;
      break;
    }
  }
  canvas.width = canvas.height = 0;
}

function overlay(video, canvas, faces, width, paint) {
  const ratio = devicePixelRatio;
  canvas.width = Math.round(video.clientWidth * ratio);
  canvas.height = Math.round(video.clientHeight * ratio);
  const scale = canvas.width / width;
  paint(canvas.getContext("2d"), faces, ([x, y]) => [(x + 0.5) * scale, (y + 0.5) * scale], ratio);
}
