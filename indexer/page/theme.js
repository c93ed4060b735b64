/**
 * Applies the visitor's choice of theme before the first paint; a classic script because modules run later.
 * Touches localStorage and the root element.
 */
try {
  const theme = localStorage.getItem("fairscore.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be blocked: then the system's preference holds.
}
