// Cameras: the orbiting one of the scene, and the recording's own with their lenses.

const subtract = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const add = (a, b, k = 1) => [a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const apply = (m, v) => [dot(m[0], v), dot(m[1], v), dot(m[2], v)];
const applyTransposed = (m, v) => [0, 1, 2].map((i) => m[0][i] * v[0] + m[1][i] * v[1] + m[2][i] * v[2]);
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

// Semi-axes and angle of the ellipse { sum_k a_k d_k : |a| = 1 } for offsets d_k in the plane.
function ellipseOf(offsets) {
  let xx = 0, xy = 0, yy = 0;
  for (const [dx, dy] of offsets) {
    xx += dx * dx;
    xy += dx * dy;
    yy += dy * dy;
  }
  const mean = (xx + yy) / 2;
  const swing = Math.hypot((xx - yy) / 2, xy);
  return {
    major: Math.sqrt(mean + swing),
    minor: Math.sqrt(Math.max(mean - swing, 0)),
    angle: Math.atan2(2 * xy, xx - yy) / 2,
  };
}

// Projected one-sigma ellipse of a point with the given Cholesky columns, by symmetric differences.
function projectedEllipse(view, point, columns) {
  const offsets = [];
  for (const column of columns) {
    const ahead = view.project(add(point, column));
    const behind = view.project(add(point, column, -1));
    if (!ahead || !behind) return null;
    offsets.push([(ahead[0] - behind[0]) / 2, (ahead[1] - behind[1]) / 2]);
  }
  return ellipseOf(offsets);
}

// Turns around a target; works in the upright world (z up).
class OrbitView {
  constructor(upright) {
    this.upright = upright;
    this.yaw = -0.9;
    this.pitch = 0.3;
    this.distance = 5;
    this.target = [0, 0, 1];
    this.resize(100, 100);
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    this.focal = 1.35 * Math.min(height, 1.15 * width);
    this.update();
  }

  update() {
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    const backward = [cp * cy, cp * sy, sp];
    this.right = [-sy, cy, 0];
    this.above = [-sp * cy, -sp * sy, cp];
    this.forward = backward.map((x) => -x);
    this.eye = add(this.target, backward, this.distance);
  }

  projectUpright(point) {
    const offset = subtract(point, this.eye);
    const depth = dot(offset, this.forward);
    if (depth < 0.05) return null;
    const scale = this.focal / depth;
    return [this.width / 2 + scale * dot(offset, this.right), this.height / 2 - scale * dot(offset, this.above), depth];
  }

  project(point) {
    return this.projectUpright(apply(this.upright, point));
  }

  // Pixels of one metre at a depth.
  scaleAt(depth) {
    return this.focal / depth;
  }

  orbit(dx, dy) {
    this.yaw -= 0.008 * dx;
    this.pitch = clamp(this.pitch + 0.008 * dy, -1.5, 1.5);
    this.update();
  }

  pan(dx, dy) {
    const metres = this.distance / this.focal;
    this.target = add(add(this.target, this.right, -dx * metres), this.above, dy * metres);
    this.update();
  }

  zoom(factor) {
    this.distance = clamp(this.distance * factor, 0.3, 200);
    this.update();
  }

  // Frame a sphere.
  fit(center, radius) {
    this.target = center;
    const half = Math.atan(Math.min(this.width, this.height) / 2 / this.focal);
    this.distance = clamp(radius / Math.sin(half), 0.5, 200);
    this.update();
  }
}

// Normalised to distorted normalised coordinates, as OpenCV does it.
function distort(x, y, k, fisheye) {
  const s = x * x + y * y;
  if (fisheye) {
    const radius = Math.sqrt(s);
    if (radius < 1e-8) return [x, y];
    const angle = Math.atan(radius);
    const t = angle * angle;
    const scale = (angle * (1 + t * (k[0] + t * (k[1] + t * (k[2] + t * k[3]))))) / radius;
    return [x * scale, y * scale];
  }
  const c = (i) => k[i] || 0;
  const radial =
    (1 + s * (c(0) + s * (c(1) + s * c(4)))) / (1 + s * (c(5) + s * (c(6) + s * c(7))));
  let u = x * radial + 2 * c(2) * x * y + c(3) * (s + 2 * x * x) + s * (c(8) + s * c(9));
  let v = y * radial + c(2) * (s + 2 * y * y) + 2 * c(3) * x * y + s * (c(10) + s * c(11));
  if (c(12) || c(13)) {
    const [sx, cx, sy, cy] = [Math.sin(c(12)), Math.cos(c(12)), Math.sin(c(13)), Math.cos(c(13))];
    const turned = apply([[cy, sy * sx, -sy * cx], [0, cx, sx], [sy, -cy * sx, cy * cx]], [u, v, 1]);
    const [r02, r12, r22] = [-sy * cx, sx, cy * cx];
    u = (r22 * turned[0] - r02 * turned[2]) / turned[2];
    v = (r22 * turned[1] - r12 * turned[2]) / turned[2];
  }
  return [u, v];
}

// World point to pixels and depth; null behind the camera or where the lens model does not hold.
function projectThroughLens(camera, point) {
  const [x, y, z] = add(apply(camera.rotation, point), camera.translation);
  if (z < 0.05) return null;
  if (camera.fold !== null && Math.hypot(x, y) > camera.fold * z) return null;
  const [u, v] = distort(x / z, y / z, camera.distortion, camera.fisheye);
  const [[fx, skew, cx], [, fy, cy]] = camera.intrinsics;
  return [fx * u + skew * v + cx, fy * v + cy, z];
}

// Looks through one of the recording's cameras: image pixels, fitted into the canvas, zoomed and shifted.
class LensView {
  constructor(camera, upright) {
    this.camera = camera;
    this.upright = upright;
    this.magnification = 1;
    this.shift = [0, 0];
    this.resize(100, 100);
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    const [w, h] = this.camera.size;
    this.base = 0.94 * Math.min(width / w, height / h);
  }

  get scale() {
    return this.base * this.magnification;
  }

  toCanvas(pixel) {
    const [w, h] = this.camera.size;
    return [
      this.width / 2 + this.scale * (pixel[0] - (w - 1) / 2) + this.shift[0],
      this.height / 2 + this.scale * (pixel[1] - (h - 1) / 2) + this.shift[1],
    ];
  }

  project(point) {
    const pixel = projectThroughLens(this.camera, point);
    return pixel && [...this.toCanvas(pixel), pixel[2]];
  }

  projectUpright(point) {
    return this.project(applyTransposed(this.upright, point));
  }

  scaleAt(depth) {
    return (this.camera.intrinsics[0][0] * this.scale) / depth;
  }

  orbit(dx, dy) {
    this.pan(dx, dy);
  }

  pan(dx, dy) {
    this.shift = [this.shift[0] + dx, this.shift[1] + dy];
  }

  zoom(factor) {
    const magnification = clamp(this.magnification / factor, 0.3, 40);
    const ratio = magnification / this.magnification;
    this.shift = [this.shift[0] * ratio, this.shift[1] * ratio];
    this.magnification = magnification;
  }

  // Show some pixels as large as the canvas allows; the whole image without any.
  fit(pixels = []) {
    this.magnification = 1;
    this.shift = [0, 0];
    if (!pixels.length) return;
    const box = [0, 1].map((axis) => {
      const values = pixels.map((pixel) => pixel[axis]);
      return [Math.min(...values), Math.max(...values)];
    });
    const size = box.map(([low, high]) => Math.max(high - low, 8));
    this.magnification = clamp((0.8 * Math.min(this.width / size[0], this.height / size[1])) / this.base, 0.3, 40);
    const middle = this.toCanvas(box.map(([low, high]) => (low + high) / 2));
    this.shift = [this.width / 2 - middle[0], this.height / 2 - middle[1]];
  }
}
