// What is known of the chosen track or object, and the list of failures. Text only goes in as text.

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A line over a sequence's frames; points with null are gaps. Returns the cursor's mover, too.
function chart(label, frames, values, top, unit, count) {
  const [w, h, left, bottom] = [320, 92, 34, 16];
  const x = (frame) => left + (frame / Math.max(count - 1, 1)) * (w - left - 6);
  const y = (value) => 8 + (1 - Math.min(value / top, 1)) * (h - bottom - 8);
  const root = svg("svg", { viewBox: `0 0 ${w} ${h}`, class: "strip", role: "img", "aria-label": label });
  for (const value of [0, top / 2, top]) {
    root.append(svg("path", { class: "grid", d: `M${left} ${y(value)}H${w - 6}` }));
    root.append(svg("text", { x: left - 4, y: y(value) + 3, "text-anchor": "end" }, +value.toFixed(2)));
  }
  root.append(svg("text", { x: left, y: h - 3 }, `${label}${unit ? `, ${unit}` : ""}, over the scene`));
  let pen = "", last = null;
  frames.forEach((frame, i) => {
    if (values[i] === null) return;
    pen += `${last === frame - 1 ? "L" : "M"}${x(frame).toFixed(1)} ${y(values[i]).toFixed(1)}`;
    if (last !== frame - 1) pen += "h.01"; // a lone point shows, too
    last = frame;
  });
  root.append(svg("path", { class: "line s0", d: pen || "M0 0" }));
  const cursor = svg("path", { class: "cursor", d: "M0 0" });
  root.append(cursor);
  return { root, move: (time) => cursor.setAttribute("d", `M${x(time).toFixed(1)} 6V${h - bottom}`) };
}

class Details {
  constructor(parent, state) {
    this.parent = parent;
    this.state = state;
    this.cursors = [];
  }

  // A button that shows another object or track, at a frame.
  link(item, frame, prefix = "") {
    const button = element("button", `${prefix}${item.label}`, "link");
    button.type = "button";
    button.addEventListener("click", () => this.state.jump(frame, item));
    return button;
  }

  span(first, last) {
    const { scene } = this.state;
    const [a, b] = [scene.times[first], scene.times[last]].map((s) => s.toFixed(1));
    return first === last ? `${a} s` : `${a} to ${b} s`;
  }

  move() {
    for (const move of this.cursors) move(this.state.time);
  }

  show() {
    const chosen = this.state.selected;
    this.cursors = [];
    if (!chosen) {
      this.parent.replaceChildren(element("p", "Click a box in the view: its life appears here.", "soft"));
      return;
    }
    if (chosen.kind === "object") this.showObject(chosen);
    else this.showTrack(chosen);
    this.move();
  }

  facts(rows) {
    const list = element("dl");
    for (const [name, value] of rows) list.append(element("dt", name), element("dd", value));
    return list;
  }

  add(charts, parts) {
    this.cursors = charts.map((c) => c.move);
    this.parent.replaceChildren(...parts, ...charts.map((c) => c.root));
  }

  showTrack(track) {
    const { scene } = this.state;
    const paired = track.object.filter((o) => o >= 0).length;
    const errors = track.error.filter((_, row) => track.object[row] >= 0).map((e) => e / 100);
    const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
    const scores = track.score.map((s) => s / 1000);
    const switches = scene.events.filter((e) => e.kind === "switch" && e.to === track.number).length;
    const title = element("h3", `${track.class} ${track.label}`);
    const rows = [
      ["identity", track.id],
      ["life", `${this.span(track.first, track.last)}, ${track.frames.length} frames`],
      ["score", `${mean(scores).toFixed(2)} (${Math.min(...scores).toFixed(2)} to ${Math.max(...scores).toFixed(2)})`],
      ["on an object", `${paired} of ${track.frames.length} frames`],
      ["error to truth", errors.length ? `${mean(errors).toFixed(2)} m, at most ${Math.max(...errors).toFixed(2)} m` : "–"],
      ["switches to it", String(switches)],
    ];
    const charts = [
      chart("score", track.frames, scores, 1, "", scene.count),
      chart("error", track.frames, track.error.map((e, row) => (track.object[row] < 0 ? null : e / 100)), 2, "m", scene.count),
    ];
    this.add(charts, [title, this.facts(rows), this.trackRuns(track)]);
  }

  // What the track followed, and which track had the object next.
  trackRuns(track) {
    const { scene } = this.state;
    const list = element("ul", undefined, "runs");
    for (const [number, first, last] of track.partners()) {
      const line = element("li", `${this.span(first, last)}: `);
      if (number < 0) line.append("no object (false)");
      else {
        const object = scene.objects[number];
        line.append(this.link(object, first, "object "));
        const next = object.frames.findIndex((f, row) => f > last && object.track[row] >= 0 && object.track[row] !== track.number);
        if (next >= 0 && !object.track.some((t, row) => t === track.number && object.frames[row] > last)) {
          line.append(", taken over by ", this.link(scene.tracks[object.track[next]], object.frames[next]),
            ` at ${this.span(object.frames[next], object.frames[next])}`);
        }
      }
      list.append(line);
    }
    return list;
  }

  showObject(object) {
    const { scene } = this.state;
    const found = object.track.filter((t) => t >= 0).length;
    const errors = object.frames.map((frame, row) => {
      const track = scene.tracks[object.track[row]];
      return track ? track.error[track.row.get(frame)] / 100 : null;
    });
    const of = (kind) => String(scene.events.filter((e) => e.kind === kind && e.object === object.number).length);
    const list = element("ul", undefined, "runs");
    for (const [number, first, last] of object.partners()) {
      const line = element("li", `${this.span(first, last)}: `);
      if (number < 0) line.append(element("span", "missed", "bad"));
      else line.append(this.link(scene.tracks[number], first, "track "));
      list.append(line);
    }
    const rows = [
      ["identity", object.id],
      ["there", `${this.span(object.first, object.last)}, ${object.frames.length} frames`],
      ["tracked", `${found} of ${object.frames.length} frames`],
      ["switches", of("switch")],
      ["fragmentations", of("fragmentation")],
    ];
    this.add([chart("error", object.frames, errors, 2, "m", scene.count)],
      [element("h3", `${object.class}, an annotated object`), this.facts(rows), list]);
  }
}

const LISTED = 300; // failures in the list at once

class Failures {
  constructor(parent, kind, state) {
    this.parent = parent;
    this.kind = kind;
    this.state = state;
    kind.addEventListener("change", () => this.show());
  }

  show() {
    const { scene } = this.state;
    const wanted = scene.events.filter((e) => this.kind.value === "all" || e.kind === this.kind.value)
      .filter((e) => this.state.shows(this.of(e)));
    const rows = wanted.slice(0, LISTED).map((e) => this.row(e));
    if (wanted.length > LISTED) rows.push(element("li", `and ${wanted.length - LISTED} more: choose a kind or a class`, "soft"));
    if (!wanted.length) rows.push(element("li", "None.", "soft"));
    this.parent.replaceChildren(...rows);
  }

  of(event) {
    const { scene } = this.state;
    return event.object >= 0 ? scene.objects[event.object] : scene.tracks[event.from];
  }

  row(event) {
    const { scene } = this.state;
    const item = this.of(event);
    let text = `${scene.times[event.frame].toFixed(1)} s  ${event.kind}, ${item.class}`;
    if (event.to >= 0) text += ` ${scene.tracks[event.from].label} → ${scene.tracks[event.to].label}`;
    else if (event.object < 0) text += ` ${item.label}`;
    if (event.length > 1) text += `, ${event.length} frames`;
    const button = element("button", text, "link");
    button.type = "button";
    button.addEventListener("click", () => this.state.jump(event.frame, item));
    const line = element("li");
    line.append(button);
    return line;
  }
}
