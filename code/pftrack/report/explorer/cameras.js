// The cameras' images of a frame, with the boxes drawn over them.

const EDGES = [[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]];
const NEAR = 0.3; // m in front of a camera, where lines are cut
const FAR = 60; // m up to which boxes are drawn

class Cameras {
  constructor(parent, state) {
    this.parent = parent;
    this.state = state;
    this.views = [];
    this.next = 0;
  }

  // Other images are only decoded when the frame is another one, and lines only drawn when something of theirs
  // changed: between two key frames nothing moves here. While the scene plays, one camera a drawing changes: six
  // images decoded at once would hold up the map.
  draw() {
    const { scene, time, playing, layers, selected, onlyClass, words } = this.state;
    const frame = Math.round(time);
    const data = scene.sensors && scene.sensors[frame];
    this.parent.hidden = !data;
    if (!data) return;
    if (this.views.length !== data.images.length) this.build(data);
    const wanted = [scene, frame, selected, layers.truth, layers.tracks, onlyClass, words];
    for (let k = 0; k < this.views.length; k++) {
      const i = (this.next + k) % this.views.length;
      const view = this.views[i];
      if (wanted.every((value, k) => value === view.shown[k])) continue;
      if (scene !== view.shown[0] || frame !== view.shown[1]) {
        view.image.src = `data:image/jpeg;base64,${data.images[i]}`;
      }
      view.shown = wanted;
      this.overlay(view.canvas, data.size, data.matrices[i], frame);
      if (playing) {
        this.next = i + 1; // each has its turn, on a slow machine too
        return;
      }
    }
  }

  build(data) {
    this.views = data.names.map((name) => {
      const figure = document.createElement("figure");
      const image = document.createElement("img");
      const canvas = document.createElement("canvas");
      const caption = document.createElement("figcaption");
      image.alt = `camera ${name}`;
      image.width = canvas.width = data.size[0];
      image.height = canvas.height = data.size[1];
      canvas.width *= 2; // sharp lines where the page shows the image larger
      canvas.height *= 2;
      caption.textContent = name;
      figure.append(image, canvas, caption);
      return { figure, image, canvas, shown: [] };
    });
    // Left, front, right above; the same behind below.
    const order = ["front left", "front", "front right", "back left", "back", "back right"];
    const rank = (view) => order.indexOf(view.figure.textContent);
    this.parent.replaceChildren(...[...this.views].sort((a, b) => rank(a) - rank(b)).map((v) => v.figure));
  }

  overlay(canvas, [width, height], matrix, frame) {
    const { scene, layers, selected } = this.state;
    const c = canvas.getContext("2d");
    c.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
    c.clearRect(0, 0, width, height);
    const draw = (item, color, line) => {
      const b = this.state.shows(item) && item.at(frame);
      if (!b) return;
      c.strokeStyle = item === selected ? "#ffd84d" : color;
      c.lineWidth = item === selected ? 2 : line;
      this.wires(c, this.corners(b), matrix);
    };
    if (layers.truth) for (const o of scene.objects) draw(o, o.track[o.row.get(frame)] < 0 ? "#ff6b5e" : "#fff", 0.7);
    if (layers.tracks) for (const t of scene.tracks) draw(t, t.color, 1.2);
  }

  corners(b) {
    const [cos, sin] = [Math.cos(b.yaw), Math.sin(b.yaw)];
    const corners = [];
    for (const z of [-0.5, 0.5]) {
      for (const [l, w] of [[0.5, 0.5], [0.5, -0.5], [-0.5, -0.5], [-0.5, 0.5]]) {
        corners.push([
          b.x + l * b.length * cos - w * b.width * sin,
          b.y + l * b.length * sin + w * b.width * cos,
          b.z + z * b.height,
        ]);
      }
    }
    return corners;
  }

  wires(c, corners, m) {
    const points = corners.map(([x, y, z]) => [0, 4, 8].map((i) => m[i] * x + m[i + 1] * y + m[i + 2] * z + m[i + 3]));
    const depth = points.reduce((sum, p) => sum + p[2], 0) / points.length;
    if (depth < NEAR || depth > FAR) return;
    c.beginPath();
    for (const [i, j] of EDGES) {
      let [a, b] = [points[i], points[j]];
      if (a[2] < NEAR && b[2] < NEAR) continue;
      const cut = (p, q) => {
        if (p[2] >= NEAR) return p;
        const t = (NEAR - p[2]) / (q[2] - p[2]);
        return p.map((v, k) => v + t * (q[k] - v));
      };
      [a, b] = [cut(a, b), cut(b, a)];
      c.moveTo(a[0] / a[2], a[1] / a[2]);
      c.lineTo(b[0] / b[2], b[1] / b[2]);
    }
    c.stroke();
  }
}
