// The arrays of the report; their layout is described in payload.py.

const BYTES = { int16: Int16Array, uint8: Uint8Array, int32: Int32Array, float32: Float32Array, float16: Uint16Array };
const MISSING = { int16: -32768, uint8: 255 };

function bytesFromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function halfToNumber(half) {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function decodeArray(entry, base64) {
  const bytes = bytesFromBase64(base64);
  const stored = new BYTES[entry.dtype](bytes.buffer);
  const values = new Float32Array(stored.length);
  const missing = MISSING[entry.dtype];
  const width = Array.isArray(entry.scale) ? entry.scale.length : 1;
  const scales = [].concat(entry.scale);
  const offsets = [].concat(entry.offset);
  for (let i = 0; i < stored.length; i++) {
    const component = width > 1 ? i % width : 0;
    const number = entry.dtype === "float16" ? halfToNumber(stored[i]) : stored[i];
    const shift = offsets.length > 1 ? offsets[component] : offsets[0];
    values[i] = number === missing ? NaN : shift + scales[component] * number;
  }
  return values;
}

// One object for everything that is drawn: sizes, names, and accessors into the flat arrays.
class Data {
  constructor(manifest, textOf) {
    Object.assign(this, manifest);
    this.array = {};
    for (const [name, entry] of Object.entries(manifest.arrays)) {
      this.array[name] = decodeArray(entry, textOf(name));
    }
    this.count = manifest.arrays.joints.shape[0];
    this.J = manifest.joints.length;
    this.P = manifest.people;
    this.V = manifest.views.length;
    this.rate = (manifest.fps || 30) / manifest.stride;
  }

  place(frame, person, joint) {
    return (frame * this.P + person) * this.J + joint;
  }

  joint(frame, person, joint) {
    const at = 3 * this.place(frame, person, joint);
    const values = this.array.joints;
    return Number.isNaN(values[at]) ? null : [values[at], values[at + 1], values[at + 2]];
  }

  // Columns of the Cholesky factor in metres: the ellipsoid is their sum over the unit sphere.
  spread(frame, person, joint) {
    const at = 6 * this.place(frame, person, joint);
    const l = this.array.spread;
    if (Number.isNaN(l[at + 5])) return null;
    const k = 0.001;
    return [
      [k * l[at], k * l[at + 1], k * l[at + 3]],
      [0, k * l[at + 2], k * l[at + 4]],
      [0, 0, k * l[at + 5]],
    ];
  }

  // Standard deviations along the world's axes, metres.
  deviations(frame, person, joint) {
    const columns = this.spread(frame, person, joint);
    return columns && [0, 1, 2].map((axis) => Math.hypot(columns[0][axis], columns[1][axis], columns[2][axis]));
  }

  // Root mean square of the three, millimetres.
  sigma(frame, person, joint) {
    const deviations = this.deviations(frame, person, joint);
    return deviations ? (1000 * Math.hypot(...deviations)) / Math.sqrt(3) : NaN;
  }

  filled(frame, person, joint) {
    return this.array.filled[this.place(frame, person, joint)] === 1;
  }

  keypoint(view, frame, person, joint) {
    const values = this.array.keypoints;
    if (!values) return null;
    const at = 2 * (view * this.count * this.P * this.J + this.place(frame, person, joint));
    return Number.isNaN(values[at]) ? null : [values[at], values[at + 1]];
  }

  weight(view, frame, person, joint) {
    const values = this.array.weights;
    return values ? values[view * this.count * this.P * this.J + this.place(frame, person, joint)] : NaN;
  }

  color(person) {
    return this.colors[person % this.colors.length];
  }

  seconds(frame) {
    return (this.array.frames[frame] - this.array.frames[0]) / (this.fps || 1);
  }
}
