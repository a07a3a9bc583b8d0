/* The dialog that asks for the API key. It is kept until the tab is closed. */

/** The key, or null if the user cancels. `wrong` says that the former key was refused. */
export function askKey(dialog, wrong) {
  const [form, input] = [dialog.querySelector("form"), dialog.querySelector("input")];
  dialog.querySelector("[role=alert]").textContent = wrong ? "The service refused this key." : "";
  input.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const ended = new AbortController();
    const end = (value) => {
      ended.abort();
      dialog.close();
      resolve(value);
    };
    const once = { signal: ended.signal };
    form.addEventListener("submit", (event) => {
      event.preventDefault(); // the page's policy lets no form be sent
      end(input.value.trim() || null);
    }, once);
    form.querySelector("[type=button]").addEventListener("click", () => end(null), once);
    dialog.addEventListener("cancel", () => end(null), once);
  });
}
