// What the pictures over time share, and the strip above the slider.

const LEFT = 54;
const RIGHT = 10;

function prepare(canvas, height) {
  const density = window.devicePixelRatio || 1;
  const width = canvas.parentElement.clientWidth;
  canvas.style.height = `${height}px`;
  canvas.width = Math.max(1, Math.round(width * density));
  canvas.height = Math.round(height * density);
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  return { context, width, height };
}

// Round numbers about `count` to a range.
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, i) => (first + i) * step);
}

function format(value, span) {
  return value.toFixed(clamp(Math.ceil(1 - Math.log10(span || 1)), 0, 3));
}

// How many joints are measured, filled in and unknown in every frame of the playback.
class Strip {
  constructor(canvas, data) {
    this.canvas = canvas;
    this.data = data;
    const all = data.P * data.J;
    this.known = new Float32Array(data.count);
    this.filled = new Float32Array(data.count);
    for (let frame = 0; frame < data.count; frame++) {
      for (let place = 0; place < all; place++) {
        if (!data.joint(frame, 0, place)) continue;
        this.known[frame] += 1 / all;
        if (data.filled(frame, 0, place)) this.filled[frame] += 1 / all;
      }
    }
  }

  draw(theme) {
    const { context: c, width, height } = prepare(this.canvas, 20);
    const { count } = this.data;
    c.fillStyle = theme.shade;
    c.fillRect(0, 0, width, height);
    for (let x = 0; x < width; x++) {
      const [first, last] = [Math.floor((x / width) * count), Math.max(Math.floor(((x + 1) / width) * count), 1)];
      let known = 1, measured = 1;
      for (let frame = first; frame < Math.max(last, first + 1); frame++) {
        known = Math.min(known, this.known[frame]);
        measured = Math.min(measured, this.known[frame] - this.filled[frame]);
      }
      c.fillStyle = theme.series2;
      c.fillRect(x, height * (1 - known), 1, height * known);
      c.fillStyle = theme.accent;
      c.fillRect(x, height * (1 - measured), 1, height * measured);
    }
  }
}
