// Draws one frame: ground, cameras and people, from around them or through a camera.

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
    this.bounds = this.measure();
    this.theme = themeColors();
    this.figures = new Figures(this, data);
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
    this.figures.draw(frame);
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

  // Squares of a metre, or larger ones where the scene is wide.
  drawGrid() {
    const { context: c, theme } = this;
    const { center, radius } = this.bounds;
    const reach = Math.max(1.6 * radius, 2);
    const pitch = [1, 2, 5, 10, 20, 50].find((metres) => reach / metres <= 12) || 100;
    const half = Math.ceil(reach / pitch);
    const [midX, midY] = center.map((x) => pitch * Math.round(x / pitch));
    const z = this.data.ground;
    const steps = Array.from({ length: 8 * half + 1 }, (_, i) => pitch * (i / 4 - half)); // short: lenses bend lines
    c.lineWidth = 1;
    for (let i = -half; i <= half; i++) {
      c.strokeStyle = i === 0 ? theme.gridstrong : theme.grid;
      this.line(steps.map((s) => [midX + pitch * i, midY + s, z]));
      this.line(steps.map((s) => [midX + s, midY + pitch * i, z]));
    }
    if (this.lens) return;
    this.drawAxes([midX - pitch * half, midY - pitch * half, z]);
    c.fillStyle = theme.muted;
    this.text(`ground: squares of ${pitch} m`, 12, this.view.height - 14);
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
