// The errors of one joint over time.

// The horizontal axis: frames of the playback, all of them or those around the present one.
class TimeAxis {
  constructor(data, width) {
    this.data = data;
    this.width = width;
    this.first = 0;
    this.last = Math.max(1, data.count - 1);
  }

  window(frame, seconds) {
    const count = Math.round(seconds * this.data.rate);
    if (!count || count >= this.data.count) return;
    this.first = clamp(frame - Math.floor(count / 2), 0, this.data.count - 1 - count);
    this.last = this.first + count;
  }

  x(frame) {
    return LEFT + ((frame - this.first) / (this.last - this.first)) * (this.width - LEFT - RIGHT);
  }

  frame(x) {
    const share = (x - LEFT) / (this.width - LEFT - RIGHT);
    return clamp(Math.round(this.first + share * (this.last - this.first)), 0, this.data.count - 1);
  }

  draw(c, y, theme) {
    const { data } = this;
    const unit = data.fps ? (frame) => data.seconds(frame) : (frame) => data.array.frames[frame];
    const [low, high] = [unit(this.first), unit(Math.min(this.last, data.count - 1))];
    c.fillStyle = theme.muted;
    c.textAlign = "center";
    for (const tick of ticks(low, high, Math.max(3, this.width / 120))) {
      const frame = this.first + ((tick - low) / (high - low || 1)) * (this.last - this.first);
      c.fillText(format(tick, high - low), this.x(frame), y);
    }
    c.textAlign = "left";
    c.fillText(data.fps ? "s" : "frame", 4, y);
  }
}

// Value and standard deviation of one joint over time, with the interval that holds 90 %.
class Bands {
  constructor(canvas, data) {
    this.canvas = canvas;
    this.data = data;
    this.choice = { person: 0, joint: 0, kind: "position", seconds: 0 };
  }

  // Rows of { name, unit, values, deviations }.
  series() {
    const { data } = this;
    const { person, joint, kind } = this.choice;
    const points = Array.from({ length: data.count }, (_, frame) => data.joint(frame, person, joint));
    const deviations = points.map((_, frame) => data.deviations(frame, person, joint));
    if (kind === "speed") return [this.speed(points, person, joint)];
    if (kind === "sigma") {
      const values = points.map((_, frame) => data.sigma(frame, person, joint));
      return [{ name: "1 \u03c3", unit: "mm", values, deviations: null }];
    }
    return ["x", "y", "z"].map((name, axis) => ({
      name,
      unit: "m",
      values: points.map((point) => (point ? point[axis] : NaN)),
      deviations: deviations.map((d) => (d ? d[axis] : NaN)),
    }));
  }

  // Central differences; the deviation takes the noise of the two frames as independent.
  speed(points, person, joint) {
    const { data } = this;
    const values = new Array(data.count).fill(NaN);
    const deviations = new Array(data.count).fill(NaN);
    for (let frame = 1; frame < data.count - 1; frame++) {
      const [before, after] = [points[frame - 1], points[frame + 1]];
      if (!before || !after) continue;
      const seconds = 2 / data.rate;
      const step = subtract(after, before);
      const length = Math.hypot(...step);
      const along = step.map((x) => x / (length || 1));
      values[frame] = length / seconds;
      const spread = [frame - 1, frame + 1].flatMap((at) => data.spread(at, person, joint) || [[NaN, NaN, NaN]]);
      deviations[frame] = Math.hypot(...spread.map((column) => dot(column, along))) / seconds;
    }
    return { name: "speed", unit: "m/s", values, deviations };
  }

  update() {
    this.rows = this.series();
  }

  draw(frame, theme) {
    const panel = this.rows.length > 1 ? 124 : 230;
    const { context: c, width, height } = prepare(this.canvas, this.rows.length * panel + 22);
    this.axis = new TimeAxis(this.data, width);
    this.axis.window(frame, this.choice.seconds);
    this.shadeFilled(c, height - 22, theme);
    this.rows.forEach((row, index) => this.drawRow(c, row, index * panel, panel - 12, theme[`series${index + 1}`], theme));
    this.axis.draw(c, height - 8, theme);
    const x = this.axis.x(frame);
    c.strokeStyle = theme.accent;
    c.lineWidth = 1.2;
    c.beginPath();
    c.moveTo(x, 0);
    c.lineTo(x, height - 20);
    c.stroke();
  }

  shadeFilled(c, height, theme) {
    const { person, joint } = this.choice;
    c.fillStyle = theme.shade;
    for (const [start, end] of this.runs((frame) => this.data.filled(frame, person, joint))) {
      const from = Math.max(this.axis.x(start - 0.5), LEFT);
      const to = Math.min(this.axis.x(end + 0.5), this.axis.width - RIGHT);
      c.fillRect(from, 0, Math.max(1, to - from), height);
    }
  }

  // Lowest and highest value in sight, bands included.
  range({ values, deviations }) {
    const k = this.data.sigmas.line;
    let [low, high] = [Infinity, -Infinity];
    for (let frame = this.axis.first; frame <= Math.min(this.axis.last, this.data.count - 1); frame++) {
      const half = deviations && !Number.isNaN(deviations[frame]) ? k * deviations[frame] : 0;
      if (Number.isNaN(values[frame])) continue;
      low = Math.min(low, values[frame] - half);
      high = Math.max(high, values[frame] + half);
    }
    if (this.choice.kind !== "position") low = 0;
    if (!(high > low)) high = low + 0.001;
    const margin = 0.06 * (high - low);
    return [low - (this.choice.kind === "position" ? margin : 0), high + margin];
  }

  drawRow(c, row, top, height, color, theme) {
    const [low, high] = this.range(row);
    const y = (value) => top + 6 + (1 - (value - low) / (high - low)) * (height - 6);
    if (!Number.isFinite(low)) {
      c.fillStyle = theme.muted;
      c.textAlign = "left";
      c.fillText("never known in this span", LEFT + 10, top + height / 2);
      return;
    }
    for (const tick of ticks(low, high, height / 24)) {
      c.strokeStyle = theme.grid;
      c.lineWidth = 1;
      c.beginPath();
      c.moveTo(LEFT, y(tick));
      c.lineTo(this.axis.width - RIGHT, y(tick));
      c.stroke();
      c.fillStyle = theme.muted;
      c.textAlign = "right";
      c.fillText(format(tick, high - low), LEFT - 6, y(tick));
    }
    c.save();
    c.beginPath();
    c.rect(LEFT, top, this.axis.width - LEFT - RIGHT, height + 4);
    c.clip();
    this.runs((frame) => !Number.isNaN(row.values[frame])).forEach((run) => this.drawRun(c, row, run, y, color));
    c.restore();
    c.fillStyle = color;
    c.textAlign = "left";
    c.font = "600 12px system-ui, sans-serif";
    c.fillText(row.name, 4, top + 12);
    c.font = "11px system-ui, sans-serif";
    c.fillStyle = theme.muted;
    c.fillText(row.unit, 4, top + 28);
  }

  // Stretches of frames in sight, and one more at either end, of which something holds.
  runs(holds) {
    const found = [];
    let start = -1;
    const last = Math.min(this.axis.last + 1, this.data.count - 1);
    for (let frame = Math.max(0, this.axis.first - 1); frame <= last + 1; frame++) {
      const inside = frame <= last && holds(frame);
      if (inside && start < 0) start = frame;
      if (!inside && start >= 0) {
        found.push([start, frame - 1]);
        start = -1;
      }
    }
    return found;
  }

  drawRun(c, { values, deviations }, [start, end], y, color) {
    const k = this.data.sigmas.line;
    const path = (from, to, step, side) => {
      for (let frame = from; step > 0 ? frame <= to : frame >= to; frame += step) {
        const half = side && deviations ? side * k * (deviations[frame] || 0) : 0;
        c.lineTo(this.axis.x(frame), y(values[frame] + half));
      }
    };
    if (deviations) {
      c.fillStyle = alpha(color, 0.28);
      c.beginPath();
      path(start, end, 1, 1);
      path(end, start, -1, -1);
      c.fill();
    }
    c.strokeStyle = color;
    c.lineWidth = 1.5;
    c.beginPath();
    path(start, end, 1, 0);
    if (start === end) c.lineTo(this.axis.x(start) + 1.5, y(values[start]));
    c.stroke();
  }

  // What the bands say at a frame.
  words(frame) {
    const k = this.data.sigmas.line;
    const parts = this.rows.map(({ name, unit, values, deviations }) => {
      if (Number.isNaN(values[frame])) return `${name} unknown`;
      const digits = unit === "mm" ? 1 : 3;
      const half = deviations ? ` \u00b1 ${(k * deviations[frame]).toFixed(digits)}` : "";
      return `${name} ${values[frame].toFixed(digits)}${half} ${unit}`;
    });
    const filled = this.data.filled(frame, this.choice.person, this.choice.joint) ? " \u00b7 filled in" : "";
    return `frame ${this.data.array.frames[frame]}: ${parts.join(" \u00b7 ")}${filled}`;
  }
}
