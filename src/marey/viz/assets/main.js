// Puts the report together once the page is there.

function start() {
  const text = (id) => document.getElementById(id).textContent;
  const data = new Data(JSON.parse(text("marey-manifest")), (name) => text(`marey-${name}`));
  const byId = (id) => document.getElementById(id);
  if (!data.P || !data.count) {
    byId("clock").textContent = "nobody was found";
    return;
  }
  const scene = new Scene(byId("scene"), data);
  const player = new Player(scene, data);
  const strip = new Strip(byId("strip"), data);
  const bands = new Bands(byId("bands"), data);
  const heat = data.array.heat_residual ? new HeatMapChart(byId("heat"), data) : null;

  const drawTime = (frame) => {
    bands.draw(frame, scene.theme);
    byId("bands-words").textContent = bands.words(frame);
    if (heat) heat.draw(frame, scene.theme);
  };
  const drawAll = () => {
    scene.theme = themeColors();
    scene.resize();
    strip.draw(scene.theme);
    player.redraw();
    drawTime(player.frame);
  };

  bindBands(bands, player, data, () => drawTime(player.frame));
  if (heat) bindHeat(heat, player);
  player.onChange((frame) => {
    followSelection(bands, scene);
    drawTime(frame);
  });
  window.addEventListener("resize", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  for (const [event, theme] of [["beforeprint", "light"], ["afterprint", ""]]) {
    window.addEventListener(event, () => {
      document.documentElement.dataset.theme = theme;
      drawAll();
    });
  }
  scene.resize();
  scene.fit("people");
  bands.update();
  player.seek(Math.max(0, strip.known.findIndex((share) => share > 0))); // the first frame that shows somebody
  goToAddress(player, data);
  drawAll();
  window.addEventListener("hashchange", () => goToAddress(player, data));
}

// `report.html#frame=120&view=cam_2` opens at that frame of the recording, seen by that camera.
function goToAddress(player, data) {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.has("view")) player.look(data.cameras.findIndex((camera) => camera.name === wanted.get("view")));
  if (!wanted.has("frame")) return;
  const place = data.array.frames.findIndex((number) => number >= Number(wanted.get("frame")));
  player.seek(place < 0 ? data.count - 1 : place);
}

function bindBands(bands, player, data, redraw) {
  const byId = (id) => document.getElementById(id);
  const people = byId("chart-person");
  for (let person = 0; person < data.P; person++) people.add(new Option(`person ${person}`, person));
  const joints = byId("chart-joint");
  data.joints.forEach((name, joint) => joints.add(new Option(name, joint)));
  joints.value = Math.max(0, data.joints.indexOf("right wrist"));
  const read = () => {
    bands.choice = {
      person: Number(people.value),
      joint: Number(joints.value),
      kind: byId("chart-kind").value,
      seconds: Number(byId("chart-window").value),
    };
    bands.update();
  };
  for (const id of ["chart-person", "chart-joint", "chart-kind", "chart-window"]) {
    byId(id).addEventListener("change", () => {
      read();
      player.scene.selected = { person: bands.choice.person, joint: bands.choice.joint };
      player.redraw();
      redraw();
    });
  }
  read();
  seekOn(bands.canvas, player, (x) => bands.axis.frame(x));
}

// A joint clicked in the scene becomes the one of the bands.
function followSelection(bands, scene) {
  const chosen = scene.selected;
  if (!chosen || (chosen.person === bands.choice.person && chosen.joint === bands.choice.joint)) return;
  Object.assign(bands.choice, chosen);
  bands.update();
}

function bindHeat(heat, player) {
  document.getElementById("heat-kind").addEventListener("change", (event) => {
    heat.kind = event.target.value;
    heat.draw(player.frame, player.scene.theme);
  });
  seekOn(heat.canvas, player, (x) => heat.frame(x));
}

function seekOn(canvas, player, frameAt) {
  const seek = (event) => {
    if (event.buttons & 1) player.seek(frameAt(event.offsetX));
  };
  canvas.addEventListener("pointerdown", seek);
  canvas.addEventListener("pointermove", seek);
}
