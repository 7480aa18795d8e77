// The bird's-eye view: a canvas that is zoomed and moved, north up.

const HISTORY = 8; // frames
const PICK = 14; // px around a box that still mean it
const LABEL = [44, 14]; // px that a label takes
const MARGIN = 60; // m around the visible part, from where histories and forecasts may reach into it

class BirdView {
  constructor(canvas, state, changed) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.state = state;
    this.scale = (canvas.clientWidth || 640) / 90; // px a metre
    this.center = null; // m; null: the vehicle
    this.pointers = new Map();
    this.listen(changed);
  }

  listen(changed) {
    const canvas = this.canvas;
    let moved = 0, spread = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
      moved = 0;
      spread = this.spread();
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = this.pointers.get(event.pointerId);
      if (!last) return;
      const here = [event.offsetX, event.offsetY];
      this.pointers.set(event.pointerId, here);
      if (this.pointers.size === 2) {
        const now = this.spread();
        if (spread && now) this.zoom(now / spread);
        spread = now;
        moved = PICK;
      } else {
        const [dx, dy] = [here[0] - last[0], here[1] - last[1]];
        moved += Math.abs(dx) + Math.abs(dy);
        if (moved > 4) this.pan(dx, dy);
      }
      changed();
    });
    const release = (event) => {
      const known = this.pointers.delete(event.pointerId);
      if (known && event.type === "pointerup" && moved <= 4) {
        this.state.select(this.pick(event.offsetX, event.offsetY));
      }
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("wheel", (event) => {
      // The page scrolls unless the view was asked for: by its focus or a held Ctrl.
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
      changed();
    }, { passive: false });
  }

  spread() {
    const [a, b] = [...this.pointers.values()];
    return a && b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 0;
  }

  // The place in the middle, m.
  middle() {
    return this.center || this.state.scene.egoAt(this.state.time);
  }

  pan(dx, dy) {
    const { x, y } = this.middle();
    this.center = { x: x - dx / this.scale, y: y + dy / this.scale };
  }

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const before = this.scale;
    this.scale = Math.min(Math.max(before * factor, 1.5), 60);
    if (!this.center) return; // the vehicle stays in the middle
    const shift = 1 / before - 1 / this.scale;
    this.center.x += (px - this.width / 2) * shift;
    this.center.y -= (py - this.height / 2) * shift;
  }

  place(x, y) {
    return [
      this.width / 2 + (x - this.mid.x) * this.scale,
      this.height / 2 - (y - this.mid.y) * this.scale,
    ];
  }

  fit() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    const [w, h] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.mid = this.middle();
  }

  draw() {
    const { scene, time, layers } = this.state;
    const c = this.context;
    this.fit();
    c.fillStyle = "#14161a";
    c.fillRect(0, 0, this.width, this.height);
    c.lineJoin = "round";
    c.font = "12px system-ui, sans-serif";
    this.labelled = new Map(); // cell -> place of the label in it
    const ego = scene.egoAt(time);
    this.drawRings(ego);
    if (layers.lidar) this.drawLidar();
    this.drawEgo(ego);
    if (layers.truth) for (const o of scene.objects) this.drawObject(o);
    if (layers.before) for (const t of scene.before) this.drawTrack(t, true);
    if (layers.tracks) for (const t of scene.tracks) this.drawTrack(t, false);
    this.drawSelection();
  }

  drawRings(ego) {
    const c = this.context;
    const [x, y] = this.place(ego.x, ego.y);
    c.strokeStyle = "#30343a";
    c.fillStyle = "#8c8782";
    c.lineWidth = 1;
    for (let r = 10; r <= 50; r += 10) {
      c.beginPath();
      c.arc(x, y, r * this.scale, 0, 2 * Math.PI);
      c.stroke();
      if (r % 20 === 0) c.fillText(`${r} m`, x + 3, y - r * this.scale - 4);
    }
  }

  drawLidar() {
    const frame = Math.floor(this.state.time);
    const points = this.state.scene.lidar(frame);
    if (!points) return;
    const { x: ex, y: ey } = this.state.scene.egoAt(frame);
    const c = this.context;
    const size = Math.max(1, this.scale / 5);
    c.fillStyle = "#8895a1";
    for (let i = 0; i < points.length; i += 2) {
      const [x, y] = this.place(ex + points[i] / 100, ey + points[i + 1] / 100);
      c.fillRect(x, y, size, size);
    }
  }

  drawEgo(ego) {
    const c = this.context;
    const nose = [[1.8, 0], [-1.2, 1], [-1.2, -1]];
    this.path(nose.map(([a, b]) => [
      ego.x + a * Math.cos(ego.yaw) - b * Math.sin(ego.yaw),
      ego.y + a * Math.sin(ego.yaw) + b * Math.cos(ego.yaw),
    ]), true);
    c.fillStyle = "#fff";
    c.fill();
  }

  path(points, closed) {
    const c = this.context;
    c.beginPath();
    points.forEach(([x, y], i) => {
      const [px, py] = this.place(x, y);
      if (i) c.lineTo(px, py);
      else c.moveTo(px, py);
    });
    if (closed) c.closePath();
  }

  // Whether anything of a thing here could be seen.
  sees(b) {
    const [px, py] = this.place(b.x, b.y);
    const margin = MARGIN * this.scale;
    return px > -margin && px < this.width + margin && py > -margin && py < this.height + margin;
  }

  // A label beside a place, unless another one stands there already; a chosen track's always.
  label(text, b, chosen) {
    const [px, py] = this.place(b.x, b.y);
    const [column, line] = [Math.floor(px / LABEL[0]), Math.floor(py / LABEL[1])];
    for (let x = column - 1; x <= column + 1; x++) {
      for (let y = line - 1; y <= line + 1; y++) {
        const other = this.labelled.get(`${x} ${y}`);
        if (other && Math.abs(other[0] - px) < LABEL[0] && Math.abs(other[1] - py) < LABEL[1] && !chosen) return;
      }
    }
    this.labelled.set(`${column} ${line}`, [px, py]);
    this.context.fillText(text, px + 6, py - 6);
  }

  // The footprint, with a line from the middle to the front.
  box(b) {
    const c = this.context;
    const [cos, sin] = [Math.cos(b.yaw), Math.sin(b.yaw)];
    const corner = (l, w) => [
      b.x + (l * b.length * cos - w * b.width * sin) / 2,
      b.y + (l * b.length * sin + w * b.width * cos) / 2,
    ];
    this.path([corner(1, 1), corner(1, -1), corner(-1, -1), corner(-1, 1)], true);
    c.moveTo(...this.place(b.x, b.y));
    c.lineTo(...this.place(...corner(1, 0)));
    c.stroke();
  }

  drawObject(object) {
    const b = this.state.shows(object) && object.at(this.state.time);
    if (!b || !this.sees(b)) return;
    const c = this.context;
    const missed = object.track[b.row] < 0;
    c.strokeStyle = missed ? "#ff6b5e" : "#d8d8d8";
    c.lineWidth = 1;
    c.globalAlpha = b.filled ? 0.5 : 1;
    this.box(b);
    c.globalAlpha = 1;
  }

  drawTrack(track, before) {
    const { layers, time } = this.state;
    const b = this.state.shows(track) && track.at(time);
    if (!b || !this.sees(b)) return;
    const c = this.context;
    c.strokeStyle = c.fillStyle = track.color;
    if (layers.histories) {
      c.lineWidth = 1.5;
      c.globalAlpha = 0.45;
      this.path(track.history(time, HISTORY), false);
      c.stroke();
    }
    if (layers.forecasts && !before) {
      const future = track.future(b.row);
      c.globalAlpha = 0.7;
      c.lineWidth = 1;
      this.path([[b.x, b.y], ...future], false);
      c.stroke();
      c.beginPath();
      for (const [x, y] of future) {
        const [px, py] = this.place(x, y);
        c.rect(px - 1.5, py - 1.5, 3, 3);
      }
      c.fill();
    }
    c.globalAlpha = b.filled ? 0.5 : 1;
    c.lineWidth = before ? 1 : 2;
    c.setLineDash(before ? [2, 3] : track.object[b.row] < 0 ? [6, 3] : []);
    this.box(b);
    c.setLineDash([]);
    if (layers.labels && !before && this.scale > 4) {
      this.label(track.label, b, track === this.state.selected);
    }
    c.globalAlpha = 1;
  }

  drawSelection() {
    const chosen = this.state.selected;
    const b = chosen && chosen.at(this.state.time);
    if (!chosen) return;
    const c = this.context;
    c.strokeStyle = "#ffd84d";
    c.lineWidth = 1;
    c.globalAlpha = 0.8;
    this.path(chosen.frames.map((_, row) => [chosen.x[row] / 100, chosen.y[row] / 100]), false);
    c.stroke();
    c.globalAlpha = 1;
    if (!b) return;
    const [x, y] = this.place(b.x, b.y);
    c.lineWidth = 2;
    c.beginPath();
    c.arc(x, y, Math.max(12, 0.7 * b.length * this.scale), 0, 2 * Math.PI);
    c.stroke();
  }

  // The track, or else the object, at a pixel; null where there is none.
  pick(px, py) {
    const { scene, time, layers } = this.state;
    this.mid = this.middle();
    const groups = [layers.tracks ? scene.tracks : [], layers.truth ? scene.objects : []];
    for (const group of groups) {
      let best = null, least = PICK;
      for (const item of group) {
        const b = this.state.shows(item) && item.at(time);
        if (!b) continue;
        const [x, y] = this.place(b.x, b.y);
        const away = Math.hypot(px - x, py - y) - 0.4 * b.length * this.scale;
        if (away < least) [best, least] = [item, away];
      }
      if (best) return best;
    }
    return null;
  }
}
