/* A picture from the camera: shown live until it is taken or left. */

export const possible = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** A JPEG from the camera; null if the user leaves. Throws what getUserMedia throws. */
export async function takePicture(frame, shoot, leave) {
  const video = frame.querySelector("video");
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user" } });
  const ended = new AbortController();
  try {
    video.srcObject = stream;
    frame.hidden = false;
    await video.play();
    shoot.focus();
    const taken = await new Promise((resolve) => {
      const once = { signal: ended.signal };
      shoot.addEventListener("click", () => resolve(true), once);
      leave.addEventListener("click", () => resolve(false), once);
      frame.addEventListener("keydown", (event) => event.key === "Escape" && resolve(false), once);
    });
    if (!taken) return null;
    const still = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    still.getContext("2d").drawImage(video, 0, 0);
    return await still.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  } finally {
    ended.abort();
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    frame.hidden = true;
  }
}
