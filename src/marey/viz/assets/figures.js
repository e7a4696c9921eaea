// Draws the people of one frame, with their uncertainty and, through a camera, the evidence they rest on.

const TRAIL_JOINTS = /^(nose|head top|left wrist|right wrist|left ankle|right ankle)$/;
const TRAIL_SECONDS = 1;
const REJECTED = 0.5;

class Figures {
  constructor(scene, data) {
    this.scene = scene;
    this.data = data;
    this.trailJoints = data.joints.flatMap((name, joint) => (TRAIL_JOINTS.test(name) ? [joint] : []));
    this.sigmas = this.typicalSigmas();
  }

  get context() {
    return this.scene.context;
  }

  get options() {
    return this.scene.options;
  }

  get theme() {
    return this.scene.theme;
  }

  get view() {
    return this.scene.view;
  }

  get lens() {
    return this.scene.lens;
  }

  draw(frame) {
    const { options, lens } = this;
    const people = Array.from({ length: this.data.P }, (_, person) => person);
    if (options.trails) people.forEach((person) => this.drawTrails(frame, person));
    if (options.grid && !lens) people.forEach((person) => this.drawShadow(frame, person));
    this.drawPeople(frame, people);
    if (lens) people.forEach((person) => this.drawEvidence(frame, person));
    if (options.names) people.forEach((person) => this.drawName(frame, person));
    this.drawKey();
  }

  // 5th and 95th percentile of the standard deviations, millimetres: the ends of the colour scale.
  typicalSigmas() {
    const { data } = this;
    const values = [];
    const step = Math.max(1, Math.floor((data.count * data.P * data.J) / 20000));
    for (let place = 0; place < data.count * data.P * data.J; place += step) {
      const sigma = data.sigma(0, 0, place);
      if (!Number.isNaN(sigma)) values.push(sigma);
    }
    values.sort((a, b) => a - b);
    const [low, high] = [0.05, 0.95].map((share) => values[Math.floor(share * (values.length - 1))] || 0);
    return [low, Math.max(high, low + 0.1)];
  }

  drawShadow(frame, person) {
    const { context: c, data, theme } = this;
    c.strokeStyle = theme.shadow;
    c.lineWidth = 3;
    const onGround = (joint) => {
      const point = data.joint(frame, person, joint);
      return point && [...apply(data.upright, point).slice(0, 2), data.ground];
    };
    for (const [a, b] of data.links) this.scene.line([onGround(a), onGround(b)]);
  }

  drawTrails(frame, person) {
    const { context: c, data, view } = this;
    const first = Math.max(0, frame - Math.round(TRAIL_SECONDS * data.rate));
    c.lineWidth = 1.8;
    for (const joint of this.trailJoints) {
      for (let at = first; at < frame; at++) {
        const [from, to] = [at, at + 1].map((place) => data.joint(place, person, joint));
        const [start, end] = [from && view.project(from), to && view.project(to)];
        if (!start || !end) continue;
        c.strokeStyle = alpha(data.color(person), 0.1 + (0.6 * (at - first)) / Math.max(1, frame - first));
        c.beginPath();
        c.moveTo(start[0], start[1]);
        c.lineTo(end[0], end[1]);
        c.stroke();
      }
    }
  }

  jointColor(frame, person, joint) {
    const { data, options, theme } = this;
    if (options.color === "uncertainty") {
      const [low, high] = this.sigmas;
      return ramp((data.sigma(frame, person, joint) - low) / (high - low));
    }
    const base = mix(data.color(person), "#ffffff", theme.dark ? 0.16 : 0);
    return mix(base, "#ffffff", { left: 0.42, right: 0 }[data.sides[joint]] ?? 0.2);
  }

  // Links and joints of everybody from the farthest to the nearest, each with a rim that sets it off.
  drawPeople(frame, people) {
    const { data, view } = this;
    const items = [];
    for (const person of people) {
      const seen = data.joints.map((_, joint) => {
        const point = data.joint(frame, person, joint);
        return point && view.project(point);
      });
      seen.forEach((at, joint) => {
        if (at) items.push({ depth: at[2] - 0.02, person, joint, at });
      });
      for (const [a, b] of data.links) {
        if (!seen[a] || !seen[b]) continue;
        items.push({ depth: (seen[a][2] + seen[b][2]) / 2, person, link: [a, b], ends: [seen[a], seen[b]] });
      }
    }
    items.sort((one, other) => other.depth - one.depth);
    for (const item of items) {
      if (item.link) this.drawLink(frame, item);
      else this.drawJoint(frame, item);
    }
  }

  drawLink(frame, { person, link, ends, depth }) {
    const { context: c, theme, data } = this;
    const width = this.lens ? 2 : clamp(0.024 * this.view.scaleAt(depth), 1.5, 8);
    const inferred = link.some((joint) => data.filled(frame, person, joint));
    const stroke = (style, thickness) => {
      c.strokeStyle = style;
      c.lineWidth = thickness;
      c.beginPath();
      c.moveTo(ends[0][0], ends[0][1]);
      c.lineTo(ends[1][0], ends[1][1]);
      c.stroke();
    };
    stroke(alpha(theme.canvas, 0.85), width + 2);
    if (inferred) c.setLineDash([width, 1.8 * width]);
    const colors = link.map((joint) => this.jointColor(frame, person, joint));
    const blend = c.createLinearGradient(ends[0][0], ends[0][1], ends[1][0], ends[1][1]);
    const sided = link.find((joint) => data.sides[joint]);
    const whole = this.options.color === "person" && sided !== undefined ? this.jointColor(frame, person, sided) : null;
    blend.addColorStop(0, whole || colors[0]);
    blend.addColorStop(1, whole || colors[1]);
    stroke(blend, width);
    c.setLineDash([]);
  }

  drawJoint(frame, { person, joint, at }) {
    const { context: c, theme, data, options } = this;
    const color = this.jointColor(frame, person, joint);
    if (options.ellipsoids) this.drawEllipse(frame, person, joint, at, color);
    const radius = this.lens ? 4 : clamp(0.014 * this.view.scaleAt(at[2]), 2, 6);
    this.scene.spots.push({ x: at[0], y: at[1], person, joint });
    c.beginPath();
    c.arc(at[0], at[1], radius, 0, 2 * Math.PI);
    const hollow = data.filled(frame, person, joint);
    c.fillStyle = hollow ? theme.canvas : color;
    c.strokeStyle = hollow ? color : theme.canvas;
    c.lineWidth = hollow ? 2 : 1.2;
    c.fill();
    c.stroke();
    const chosen = this.scene.selected;
    if (chosen && chosen.person === person && chosen.joint === joint) {
      c.strokeStyle = theme.accent;
      c.lineWidth = 2;
      c.beginPath();
      c.arc(at[0], at[1], radius + 4, 0, 2 * Math.PI);
      c.stroke();
    }
  }

  drawEllipse(frame, person, joint, at, color) {
    const { context: c, data } = this;
    const columns = data.spread(frame, person, joint);
    const ellipse = columns && projectedEllipse(this.view, data.joint(frame, person, joint), columns);
    if (!ellipse) return;
    const k = this.options.ellipsoids * (this.lens ? data.sigmas.plane : data.sigmas.space);
    const most = 4 * Math.max(this.view.width, this.view.height);
    c.beginPath();
    const [major, minor] = [ellipse.major, ellipse.minor].map((axis) => Math.min(k * axis, most));
    c.ellipse(at[0], at[1], major, minor, ellipse.angle, 0, 2 * Math.PI);
    c.fillStyle = alpha(color, 0.2);
    c.fill();
    c.strokeStyle = alpha(color, 0.75);
    c.lineWidth = 1;
    c.stroke();
  }

  drawName(frame, person) {
    const { context: c, data, view } = this;
    let top = null;
    for (let joint = 0; joint < data.J; joint++) {
      const point = data.joint(frame, person, joint);
      const at = point && view.project(point);
      if (at && (!top || at[1] < top[1])) top = at;
    }
    if (!top) return;
    c.fillStyle = mix(data.color(person), this.theme.text, 0.35);
    this.scene.text(`person ${person}`, top[0], top[1] - 18, "center");
  }

  // Keypoints: dots where they counted, crosses where they were rejected, tied to the estimate by a thin line.
  drawEvidence(frame, person) {
    const { context: c, data, lens, theme } = this;
    const { view } = lens.camera;
    for (let joint = 0; joint < data.J; joint++) {
      const pixel = data.keypoint(view, frame, person, joint);
      if (!pixel) continue;
      const [x, y] = lens.toCanvas(pixel);
      const point = data.joint(frame, person, joint);
      const at = point && lens.project(point);
      const rejected = data.weight(view, frame, person, joint) < REJECTED;
      c.lineWidth = 1.4;
      c.strokeStyle = rejected ? theme.bad : theme.text;
      if (at) {
        c.globalAlpha = 0.7;
        c.beginPath();
        c.moveTo(x, y);
        c.lineTo(at[0], at[1]);
        c.stroke();
        c.globalAlpha = 1;
      }
      c.beginPath();
      if (rejected) {
        c.moveTo(x - 4, y - 4);
        c.lineTo(x + 4, y + 4);
        c.moveTo(x + 4, y - 4);
        c.lineTo(x - 4, y + 4);
      } else c.arc(x, y, 1.7, 0, 2 * Math.PI);
      c.fillStyle = theme.text;
      if (!rejected) c.fill();
      c.stroke();
    }
  }

  // Colour scale of the uncertainty.
  drawKey() {
    if (this.options.color !== "uncertainty") return;
    const { context: c, theme, view } = this;
    const [width, x, y] = [120, view.width - 136, view.height - 30];
    for (let i = 0; i < width; i++) {
      c.fillStyle = ramp(i / width);
      c.fillRect(x + i, y, 1.5, 8);
    }
    c.fillStyle = theme.text;
    const [low, high] = this.sigmas.map((sigma) => sigma.toFixed(1));
    this.scene.text(low, x, y + 18);
    this.scene.text(`${high} mm (1 \u03c3)`, x + width, y + 18, "right");
  }
}
