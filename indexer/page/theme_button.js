/**
 * The button that changes the theme. Touches the button, the root element and localStorage.
 */

/** Cycle system → light → dark; theme.js applies the choice before the first paint of the next visit. */
const THEMES = [
  { value: "", icon: "◐", label: "Theme: as the system" },
  { value: "light", icon: "☀", label: "Theme: light" },
  { value: "dark", icon: "☾", label: "Theme: dark" },
];

/** @param {HTMLElement} button */
export function installThemeButton(button) {
  const root = document.documentElement;
  const now = () => THEMES.findIndex(({ value }) => value === (root.dataset.theme ?? ""));
  const show = () => {
    const { icon, label } = THEMES[now()] ?? THEMES[0];
    button.textContent = icon;
    button.setAttribute("aria-label", label);
    button.setAttribute("data-tip", label);
  };
  button.addEventListener("click", () => {
    const { value } = THEMES[(now() + 1) % THEMES.length];
    if (value) root.dataset.theme = value;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("fairscore.theme", value);
    } catch {
      // A blocked storage only costs the memory of the next visit.
    }
    show();
  });
  show();
}
