// Time, the buttons around the scene, mouse, touch and keys.

const KEY_HELP = "Keys: space plays, arrows step (shift: 10), R resets the view, E ellipsoids, T trails, G ground, C cameras, 0 orbit, 1\u20139 cameras";

class Player {
  constructor(scene, data) {
    this.scene = scene;
    this.data = data;
    this.frame = 0;
    this.playing = false;
    this.speed = 1;
    this.listeners = [];
    this.element = (id) => document.getElementById(id);
    this.bindTime();
    this.bindOptions();
    this.bindPointer();
    document.addEventListener("keydown", (event) => this.onKey(event));
    this.element("keys").textContent = KEY_HELP;
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  bindTime() {
    const { data } = this;
    const slider = this.element("scrub");
    slider.max = data.count - 1;
    slider.addEventListener("input", () => this.seek(Number(slider.value)));
    this.element("play").addEventListener("click", () => this.toggle());
    this.element("back").addEventListener("click", () => this.step(-1));
    this.element("forth").addEventListener("click", () => this.step(1));
    this.element("speed").addEventListener("change", (event) => (this.speed = Number(event.target.value)));
  }

  bindOptions() {
    const { scene, data } = this;
    for (const name of ["trails", "grid", "cameras", "names"]) {
      const box = this.element(`show-${name}`);
      box.checked = scene.options[name];
      box.addEventListener("change", () => {
        scene.options[name] = box.checked;
        this.redraw();
      });
    }
    this.element("ellipsoids").addEventListener("change", (event) => {
      scene.options.ellipsoids = Number(event.target.value);
      this.redraw();
    });
    this.element("coloring").addEventListener("change", (event) => {
      scene.options.color = event.target.value;
      this.redraw();
    });
    const views = this.element("viewpoint");
    data.cameras.forEach((camera, index) => views.add(new Option(`through ${camera.name}`, index)));
    views.addEventListener("change", () => this.look(Number(views.value)));
    this.element("fit").addEventListener("click", () => this.fit("people"));
    this.element("fit-cameras").addEventListener("click", () => this.fit("cameras"));
    this.element("fit-cameras").disabled = !data.cameras.length;
  }

  fit(target) {
    this.scene.fit(target, this.frame);
    this.redraw();
  }

  look(index) {
    this.element("viewpoint").value = index;
    this.element("fit-cameras").textContent = index < 0 ? "Fit cameras" : "Whole image";
    this.scene.look(index);
    this.redraw();
  }

  toggle() {
    this.playing = !this.playing;
    const button = this.element("play");
    button.classList.toggle("playing", this.playing);
    button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    if (!this.playing) return;
    if (this.frame >= this.data.count - 1) this.seek(0);
    this.started = null;
    requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    if (!this.playing) return;
    if (this.started === null) this.started = { now, frame: this.frame };
    const passed = ((now - this.started.now) / 1000) * this.data.rate * this.speed;
    const frame = Math.floor(this.started.frame + passed);
    if (frame >= this.data.count) {
      this.seek(0);
      this.started = null;
    } else if (frame !== this.frame) this.show(frame);
    requestAnimationFrame((next) => this.tick(next));
  }

  step(count) {
    if (this.playing) this.toggle();
    this.seek(this.frame + count);
  }

  switchEllipsoids() {
    const choice = this.element("ellipsoids");
    choice.selectedIndex = (choice.selectedIndex + 1) % choice.options.length;
    choice.dispatchEvent(new Event("change"));
  }

  // Move to a frame and go on from there.
  seek(frame) {
    this.started = null;
    this.show(clamp(frame, 0, this.data.count - 1));
  }

  show(frame) {
    this.frame = frame;
    this.redraw();
    this.listeners.forEach((listener) => listener(frame));
  }

  redraw() {
    const { data, frame } = this;
    this.scene.draw(frame);
    const slider = this.element("scrub");
    slider.value = frame;
    const number = data.array.frames[frame];
    const time = data.fps ? `${data.seconds(frame).toFixed(2)} s` : "";
    slider.setAttribute("aria-valuetext", `frame ${number} ${time}`);
    this.element("clock").textContent = `frame ${number}${time ? ` \u00b7 ${time}` : ""}`;
  }

  bindPointer() {
    const canvas = this.scene.canvas;
    const fingers = new Map();
    const spot = (event) => [event.offsetX, event.offsetY];
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      fingers.set(event.pointerId, spot(event));
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return this.point(...spot(event));
      const before = [...fingers.values()];
      const [x, y] = fingers.get(event.pointerId);
      const [dx, dy] = [event.offsetX - x, event.offsetY - y];
      moved += Math.hypot(dx, dy);
      fingers.set(event.pointerId, spot(event));
      if (fingers.size === 2) this.pinch(before, [...fingers.values()]);
      else if (event.shiftKey || event.buttons > 1) this.scene.view.pan(dx, dy);
      else this.scene.view.orbit(dx, dy);
      return this.redraw();
    });
    const release = (event) => {
      fingers.delete(event.pointerId);
      if (event.type === "pointerup" && moved < 4) this.pick(...spot(event));
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => (this.element("tip").hidden = true));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // else the page scrolls
      event.preventDefault();
      this.scene.view.zoom(Math.exp(0.0012 * event.deltaY));
      this.redraw();
    }, { passive: false });
  }

  pinch(before, after) {
    const span = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const [from, to] = [middle(before), middle(after)];
    this.scene.view.zoom(span(before) / Math.max(1, span(after)));
    this.scene.view.pan(to[0] - from[0], to[1] - from[1]);
  }

  // What is known of the joint under the pointer.
  point(x, y) {
    const { data, frame } = this;
    const tip = this.element("tip");
    const spot = this.scene.spotAt(x, y);
    tip.hidden = !spot;
    if (!spot) return;
    const { person, joint } = spot;
    const place = data.joint(frame, person, joint).map((value) => value.toFixed(3)).join(", ");
    const sigma = data.sigma(frame, person, joint);
    const spread = Number.isNaN(sigma) ? "unknown" : `${sigma.toFixed(1)} mm`;
    const origin = data.filled(frame, person, joint) ? " \u00b7 filled in" : "";
    tip.textContent = `${data.joints[joint]}, person ${person}: (${place}) m \u00b7 1 \u03c3 ${spread}${origin}`;
    tip.style.left = `${Math.min(x + 14, this.scene.view.width - 230)}px`;
    tip.style.top = `${y + 14}px`;
  }

  pick(x, y) {
    const spot = this.scene.spotAt(x, y);
    const camera = this.scene.cameraAt(x, y);
    if (spot) this.choose(spot.person, spot.joint);
    else if (camera) this.look(camera.index);
  }

  // Mark a joint here and in the charts.
  choose(person, joint) {
    this.scene.selected = { person, joint };
    this.element("chart-person").value = person;
    this.element("chart-joint").value = joint;
    this.show(this.frame);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(SELECT|BUTTON|SUMMARY|TEXTAREA)$/.test(event.target.tagName) && event.key !== "Escape") return;
    if (event.target.type === "checkbox" || (event.target.type === "range" && event.key.startsWith("Arrow"))) return;
    const boxes = { t: "trails", g: "grid", c: "cameras" };
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === " ") this.toggle();
    else if (key in steps) this.step(steps[key] * (event.shiftKey ? 10 : 1));
    else if (key === "Home") this.seek(0);
    else if (key === "End") this.seek(this.data.count - 1);
    else if (key === "r") this.fit("people");
    else if (key === "e") this.switchEllipsoids();
    else if (key in boxes) this.element(`show-${boxes[key]}`).click();
    else if (/^\d$/.test(key) && Number(key) <= this.data.cameras.length) this.look(Number(key) - 1);
    else return;
    event.preventDefault();
  }
}
