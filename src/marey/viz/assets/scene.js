// Draws one frame: ground, cameras, people with their uncertainty; or, through a camera, the evidence over it.

const TRAIL_JOINTS = /^(nose|head top|left wrist|right wrist|left ankle|right ankle)$/;
const TRAIL_SECONDS = 1;
const REJECTED = 0.5;
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

class Scene {
  constructor(canvas, data) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.data = data;
    this.options = { ellipsoids: 1, trails: false, grid: true, cameras: true, names: true, color: "person" };
    this.orbit = new OrbitView(data.upright);
    this.lenses = data.cameras.map((camera) => new LensView(camera, data.upright));
    this.view = this.orbit;
    this.selected = null;
    this.spots = [];
    this.cameraSpots = [];
    this.trailJoints = data.joints.flatMap((name, joint) => (TRAIL_JOINTS.test(name) ? [joint] : []));
    this.sigmas = this.typicalSigmas();
    this.bounds = this.measure();
    this.theme = themeColors();
  }

  get lens() {
    return this.view === this.orbit ? null : this.view;
  }

  // Where people are: a sphere around nearly all of their joints, and the floor under them, in the upright world.
  measure() {
    const axes = [[], [], []];
    const { data } = this;
    const step = Math.max(1, Math.floor(data.count / 200));
    for (let frame = 0; frame < data.count; frame += step) {
      for (let place = 0; place < data.P * data.J; place++) {
        const point = data.joint(frame, 0, place);
        if (point) apply(data.upright, point).forEach((x, axis) => axes[axis].push(x));
      }
    }
    if (!axes[0].length) return { center: [0, 0, 1], radius: 1.5 };
    const range = axes.map((values) => {
      values.sort((a, b) => a - b);
      return [values[Math.floor(0.01 * values.length)], values[Math.floor(0.99 * (values.length - 1))]];
    });
    const center = range.map(([low, high]) => (low + high) / 2);
    return { center, radius: Math.max(0.8, Math.hypot(...range.map(([low, high]) => (high - low) / 2))) };
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

  fit(target, frame = 0) {
    if (this.lens) return this.lens.fit(target === "people" ? this.peopleInImage(frame) : []);
    const { center, radius } = this.bounds;
    if (target !== "cameras") return this.orbit.fit(center, radius);
    const places = this.data.cameras.map((camera) => this.cameraCenter(camera));
    const reach = places.map((place) => Math.hypot(...subtract(apply(this.data.upright, place), center)));
    return this.orbit.fit(center, Math.max(radius, ...reach) * 1.05);
  }

  // Where everybody's joints are in the image of the camera looked through, pixels.
  peopleInImage(frame) {
    const { data, lens } = this;
    const places = Array.from({ length: data.P * data.J }, (_, place) => data.joint(frame, 0, place));
    return places.map((point) => point && projectThroughLens(lens.camera, point)).filter(Boolean);
  }

  look(index) {
    this.view = index < 0 ? this.orbit : this.lenses[index];
    this.resize();
  }

  resize() {
    const box = this.canvas.getBoundingClientRect();
    const density = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(box.width * density));
    this.canvas.height = Math.max(1, Math.round(box.height * density));
    this.context.setTransform(density, 0, 0, density, 0, 0);
    this.view.resize(box.width, box.height);
  }

  draw(frame) {
    const { context: c, theme, view, options } = this;
    c.fillStyle = theme.canvas;
    c.fillRect(0, 0, view.width, view.height);
    c.lineCap = "round";
    c.lineJoin = "round";
    c.font = "12px system-ui, sans-serif";
    if (this.lens) this.drawFrameOfImage();
    if (options.grid) this.drawGrid();
    this.spots = [];
    this.cameraSpots = [];
    if (options.cameras && !this.lens) this.data.cameras.forEach((camera, index) => this.drawCamera(camera, index));
    const people = Array.from({ length: this.data.P }, (_, person) => person);
    if (options.trails) people.forEach((person) => this.drawTrails(frame, person));
    if (options.grid && !this.lens) people.forEach((person) => this.drawShadow(frame, person));
    this.drawPeople(frame, people);
    if (this.lens) people.forEach((person) => this.drawEvidence(frame, person));
    if (options.names) people.forEach((person) => this.drawName(frame, person));
    this.drawKey();
  }

  line(points, closed = false) {
    const c = this.context;
    let open = false;
    c.beginPath();
    for (const point of closed ? [...points, points[0]] : points) {
      const at = point && this.view.projectUpright(point);
      if (!at) {
        open = false;
        continue;
      }
      if (open) c.lineTo(at[0], at[1]);
      else c.moveTo(at[0], at[1]);
      open = true;
    }
    c.stroke();
  }

  drawGrid() {
    const { context: c, theme } = this;
    const { center, radius } = this.bounds;
    const half = Math.ceil(Math.max(radius * 1.6, 2));
    const [midX, midY] = [Math.round(center[0]), Math.round(center[1])];
    const z = this.data.ground;
    const steps = Array.from({ length: 8 * half + 1 }, (_, i) => -half + i / 4); // short pieces bend with the lens
    for (let i = -half; i <= half; i++) {
      c.lineWidth = 1;
      c.strokeStyle = i === 0 ? theme.gridstrong : theme.grid;
      this.line(steps.map((s) => [midX + i, midY + s, z]));
      this.line(steps.map((s) => [midX + s, midY + i, z]));
    }
    if (!this.lens) this.drawAxes([midX - half, midY - half, z]);
  }

  // The world's axes, in the corner of the grid.
  drawAxes(corner) {
    const { context: c, theme } = this;
    ["x", "y", "z"].forEach((name, axis) => {
      const direction = this.data.upright.map((row) => row[axis]);
      const tip = add(corner, direction, 0.5);
      c.strokeStyle = c.fillStyle = theme[`series${axis + 1}`];
      c.lineWidth = 2;
      this.line([corner, tip]);
      const at = this.view.projectUpright(add(corner, direction, 0.62));
      if (at) this.text(name, at[0], at[1], "center");
    });
  }

  text(words, x, y, align = "left") {
    const { context: c, theme } = this;
    const fill = c.fillStyle;
    c.textAlign = align;
    c.textBaseline = "middle";
    c.lineWidth = 3;
    c.strokeStyle = theme.canvas;
    c.strokeText(words, x, y);
    c.fillStyle = fill;
    c.fillText(words, x, y);
  }

  cameraCenter(camera) {
    return applyTransposed(camera.rotation, camera.translation.map((x) => -x));
  }

  // Pyramid from the optical centre to an image plane that lies a little way in front of it.
  drawCamera(camera, index) {
    const { context: c, theme } = this;
    const [[fx, , cx], [, fy, cy]] = camera.intrinsics;
    const [w, h] = camera.size;
    const center = this.cameraCenter(camera);
    const reach = clamp(0.16 * Math.hypot(...subtract(apply(this.data.upright, center), this.bounds.center)), 0.15, 0.6);
    const place = (u, v) => {
      const ray = [((u - cx) / fx) * reach, ((v - cy) / fy) * reach, reach];
      return apply(this.data.upright, add(center, applyTransposed(camera.rotation, ray)));
    };
    const eye = apply(this.data.upright, center);
    const ahead = dot(subtract(eye, this.orbit.eye), this.orbit.forward) / this.orbit.distance;
    c.globalAlpha = clamp(1.6 * ahead - 0.35, 0.12, 1); // what stands between the people and the eye is faint
    const corners = [place(0, 0), place(w, 0), place(w, h), place(0, h)];
    c.strokeStyle = theme.muted;
    c.lineWidth = 1.2;
    corners.forEach((corner) => this.line([eye, corner]));
    this.line(corners, true);
    this.line([place(0.35 * w, 0), place(0.5 * w, -0.16 * h), place(0.65 * w, 0)]);
    const foot = [eye[0], eye[1], this.data.ground];
    c.setLineDash([2, 4]);
    c.strokeStyle = theme.gridstrong;
    this.line([eye, foot]);
    c.setLineDash([]);
    const at = this.view.projectUpright(eye);
    if (at) this.cameraSpots.push({ x: at[0], y: at[1], index });
    c.fillStyle = theme.text;
    if (at && this.options.names) this.text(camera.name, at[0], at[1] - 14, "center");
    c.globalAlpha = 1;
  }

  drawShadow(frame, person) {
    const { context: c, data, theme } = this;
    c.strokeStyle = theme.shadow;
    c.lineWidth = 3;
    const onGround = (joint) => {
      const point = data.joint(frame, person, joint);
      return point && [...apply(data.upright, point).slice(0, 2), data.ground];
    };
    for (const [a, b] of data.links) this.line([onGround(a), onGround(b)]);
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
        if (seen[a] && seen[b]) items.push({ depth: (seen[a][2] + seen[b][2]) / 2, person, link: [a, b], ends: [seen[a], seen[b]] });
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
    this.spots.push({ x: at[0], y: at[1], person, joint });
    c.beginPath();
    c.arc(at[0], at[1], radius, 0, 2 * Math.PI);
    const hollow = data.filled(frame, person, joint);
    c.fillStyle = hollow ? theme.canvas : color;
    c.strokeStyle = hollow ? color : theme.canvas;
    c.lineWidth = hollow ? 2 : 1.2;
    c.fill();
    c.stroke();
    const chosen = this.selected;
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
    c.ellipse(at[0], at[1], Math.min(k * ellipse.major, most), Math.min(k * ellipse.minor, most), ellipse.angle, 0, 2 * Math.PI);
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
    this.text(`person ${person}`, top[0], top[1] - 18, "center");
  }

  drawFrameOfImage() {
    const { context: c, theme, lens } = this;
    const [w, h] = lens.camera.size;
    const [x, y] = lens.toCanvas([-0.5, -0.5]);
    c.fillStyle = theme.panel;
    c.fillRect(x, y, w * lens.scale, h * lens.scale);
    c.strokeStyle = theme.line;
    c.lineWidth = 1;
    c.strokeRect(x, y, w * lens.scale, h * lens.scale);
    c.fillStyle = theme.muted;
    this.text(`${lens.camera.name}  ${Math.round(w)} \u00d7 ${Math.round(h)}`, x + 8, y + 14);
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
    this.text(low, x, y + 18);
    this.text(`${high} mm (1 \u03c3)`, x + width, y + 18, "right");
  }

  // The joint nearest to a place on the canvas, and the camera.
  spotAt(x, y) {
    return nearest(this.spots, x, y, 14);
  }

  cameraAt(x, y) {
    return nearest(this.cameraSpots, x, y, 24);
  }
}

function nearest(spots, x, y, reach) {
  let best = null;
  for (const spot of spots) {
    const distance = Math.hypot(spot.x - x, spot.y - y);
    if (distance < reach && (!best || distance < best.distance)) best = { ...spot, distance };
  }
  return best;
}
