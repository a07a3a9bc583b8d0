/* Light or dark: the system's until the button says otherwise. Runs before the page is drawn. */

const theme = {
  stored() {
    try { return localStorage.getItem("theme"); } catch { return null; }
  },
  isDark() {
    return (this.stored() ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  },
  apply() {
    const stored = this.stored();
    if (stored === "dark" || stored === "light") document.documentElement.dataset.theme = stored;
    const button = document.getElementById("theme");
    if (button) button.textContent = this.isDark() ? "Light" : "Dark";
  },
  turn() {
    const next = this.isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", next); } catch { document.documentElement.dataset.theme = next; }
    this.apply();
  },
};

theme.apply();
document.addEventListener("DOMContentLoaded", () => {
  theme.apply();
  document.getElementById("theme").addEventListener("click", () => theme.turn());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme.apply());
});
