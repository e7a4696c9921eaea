// Views by time: one row a view, coloured by residual or by weight.
class HeatMapChart {
  constructor(canvas, data) {
    this.canvas = canvas;
    this.data = data;
    this.kind = "residual";
    this.columns = data.heat_edges.length - 1;
    const finite = Array.from(data.array.heat_residual).filter((x) => !Number.isNaN(x)).sort((a, b) => a - b);
    this.top = finite.length ? Math.max(finite[Math.floor(0.98 * (finite.length - 1))], 0.1) : 1;
  }

  get values() {
    return this.data.array[`heat_${this.kind}`];
  }

  // Shades run from ordinary to noteworthy: high residuals and low weights are bright.
  color(value) {
    return ramp(this.kind === "residual" ? value / this.top : 1 - value);
  }

  draw(frame, theme) {
    const { data } = this;
    const row = clamp(200 / data.V, 14, 30);
    const { context: c, width, height } = prepare(this.canvas, data.V * row + 50);
    this.label = Math.min(0.28 * width, 20 + Math.max(...data.views.map((name) => c.measureText(name).width)));
    this.span = width - this.label - RIGHT;
    c.textAlign = "left";
    c.fillStyle = theme.text;
    data.views.forEach((name, view) => c.fillText(name, 0, (view + 0.5) * row, this.label - 8));
    c.imageSmoothingEnabled = false;
    const picture = this.picture(theme);
    for (let view = 0; view < data.V; view++) {
      c.drawImage(picture, 0, view, this.columns, 1, this.label, view * row, this.span, row - 2);
    }
    const x = this.label + (((frame + 0.5) * data.stride) / data.frameCount) * this.span;
    c.strokeStyle = theme.text;
    c.lineWidth = 1.5;
    c.beginPath();
    c.moveTo(x, 0);
    c.lineTo(x, data.V * row);
    c.stroke();
    this.drawScale(c, this.label, height - 34, theme);
  }

  // One pixel a value, made once for each kind and theme.
  picture(theme) {
    const key = this.kind + theme.shade;
    if (this.key === key) return this.made;
    this.key = key;
    this.made = document.createElement("canvas");
    [this.made.width, this.made.height] = [this.columns, this.data.V];
    const c = this.made.getContext("2d");
    this.values.forEach((value, place) => {
      c.fillStyle = Number.isNaN(value) ? theme.shade : this.color(value);
      c.fillRect(place % this.columns, Math.floor(place / this.columns), 1, 1);
    });
    return this.made;
  }

  drawScale(c, x, y, theme) {
    const width = Math.min(180, this.span / 2);
    for (let i = 0; i < width; i++) {
      c.fillStyle = ramp(i / width);
      c.fillRect(x + i, y, 1.5, 9);
    }
    c.fillStyle = theme.muted;
    c.textAlign = "left";
    c.fillText(this.kind === "residual" ? "0 px" : "weight 1", x, y + 20);
    c.textAlign = "right";
    c.fillText(this.kind === "residual" ? `\u2265 ${this.top.toFixed(1)} px` : "0", x + width, y + 20);
    c.textAlign = "left";
    c.fillStyle = theme.shade;
    c.fillRect(x + width + 18, y, 14, 9);
    c.fillStyle = theme.muted;
    c.fillText("nothing seen", x + width + 38, y + 5);
  }

  frame(x) {
    const share = clamp((x - this.label) / this.span, 0, 1);
    return clamp(Math.floor((share * this.data.frameCount) / this.data.stride), 0, this.data.count - 1);
  }
}
