/* The service's routes as functions. Paths are relative, so that the page also works below a proxy's path. */

const TRIES = 4; // a full queue is asked again after what Retry-After says

export class ServiceError extends Error {}

export const scheme = async () => (await ask("scheme")).json();
export const health = async () => (await ask("health")).json();

/** The faces in a picture as the service wrote them: text of JSON, `.pts` or CSV. */
export async function align(picture, kind, signal) {
  return (await send("align", kind, picture, signal)).blob();
}

/** The picture without what covers its faces, and the faces before and after. */
export async function restore(picture, signal) {
  return (await send("restore", "json", picture, signal)).json();
}

async function send(route, kind, picture, signal) {
  const body = new FormData();
  body.append("file", picture.blob, picture.name);
  for (let attempt = 1; ; attempt++) {
    const response = await ask(`${route}?as=${kind}`, { method: "POST", body, signal }, attempt < TRIES);
    if (response.status !== 429) return response;
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get("Retry-After") ?? 1)));
    signal?.throwIfAborted();
  }
}

async function ask(path, options = {}, patient = false) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer. Is it still running?");
  }
  if (response.ok || (patient && response.status === 429)) return response;
  const answer = await response.json().catch(() => null);
  throw new ServiceError(answer?.error?.message ?? `The service answers ${response.status}.`);
}
