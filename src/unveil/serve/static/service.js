/* The service's routes as functions. Paths are relative, so that the page also works below a proxy's path. */

const TRIES = 4; // of a request that finds the queue full
const MAX_WAIT_S = 30;

export class ServiceError extends Error {}

/** Set by the page: `askKey(wrong)` returns an API key or null, `waiting(seconds)` is called before another try. */
export const hooks = { askKey: async () => null, waiting: () => {} };

const key = {
  value: stored(),
  set(value) {
    this.value = value;
    try { sessionStorage.setItem("api-key", value); } catch { /* it is then asked for again after a reload */ }
  },
};

function stored() {
  try { return sessionStorage.getItem("api-key"); } catch { return null; }
}

export const scheme = async () => (await ask("scheme")).json();
export const health = async () => (await ask("health")).json();

/** The faces in a picture; with boxes, the faces in these. */
export async function align(picture, boxes, signal) {
  return (await post("align?as=json", form(picture, boxes), signal)).json();
}

/** The picture without what covers its faces, the mask, and the faces before and after. */
export async function restore(picture, boxes, signal) {
  return (await post("restore?as=json", form(picture, boxes), signal)).json();
}

/** A record of faces as a file of another format: its content, and the ending of its name. */
export async function convert(record, kind, signal) {
  const body = new Blob([JSON.stringify(record)], { type: "application/json" });
  const response = await post(`convert?as=${kind}`, body, signal);
  const name = /filename="([^"]*)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? "";
  return { blob: await response.blob(), ending: name.slice(name.indexOf(".") + 1) };
}

function form(picture, boxes) {
  const body = new FormData();
  body.append("file", picture.blob, picture.name);
  if (boxes) body.append("boxes", JSON.stringify(boxes));
  return body;
}

/** Asks again after what Retry-After says while the queue is full, and with another key while that is wrong. */
async function post(path, body, signal) {
  for (let attempt = 1; ; attempt++) {
    const headers = key.value ? { "X-API-Key": key.value } : {};
    const patient = attempt < TRIES ? [401, 429] : [401];
    const response = await ask(path, { method: "POST", body, signal, headers }, patient);
    if (response.ok) return response;
    if (response.status === 429) {
      await pause(response.headers.get("Retry-After"), signal);
    } else {
      const given = await hooks.askKey(Boolean(key.value));
      signal?.throwIfAborted();
      if (!given) throw new ServiceError("The service needs an API key.");
      key.set(given);
      attempt -= 1;
    }
  }
}

async function pause(retryAfter, signal) {
  const asked = Number(retryAfter ?? 1);
  const seconds = asked >= 0 ? Math.min(asked, MAX_WAIT_S) : 1; // a date counts as a second
  hooks.waiting(seconds);
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  signal?.throwIfAborted();
}

async function ask(path, options = {}, accepted = []) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer. Is it still running?");
  }
  if (response.ok || accepted.includes(response.status)) return response;
  const answer = await response.json().catch(() => null);
  throw new ServiceError(answer?.error?.message ?? `The service answers ${response.status}.`);
}
