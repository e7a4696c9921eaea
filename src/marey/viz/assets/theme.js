// Colours.

const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];

// Colours of the page, read from its style sheet so that light, dark and print agree.
function themeColors() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  const names = ["text", "muted", "canvas", "grid", "gridstrong", "shadow", "accent", "line", "bad", "series1",
    "series2", "series3", "shade", "panel"];
  const theme = Object.fromEntries(names.map((name) => [name, read(`--${name}`)]));
  return { ...theme, dark: Math.max(...rgb(theme.canvas)) < 128 };
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function mix(a, b, share) {
  const [from, to] = [rgb(a), rgb(b)];
  return `#${from.map((x, i) => Math.round(x + share * (to[i] - x)).toString(16).padStart(2, "0")).join("")}`;
}

function alpha(hex, opacity) {
  return `rgba(${rgb(hex).join(",")},${opacity})`;
}

function ramp(share) {
  const place = clamp(share, 0, 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  return mix(VIRIDIS[low], VIRIDIS[low + 1], place - low);
}
