// The explorer: its state, its controls, and the loop that draws when something changed.

const SPEED = 2; // key frames a second, as they were recorded

class Explorer {
  constructor(root) {
    this.root = root;
    const find = (name) => root.querySelector(`[data-part="${name}"]`);
    this.part = Object.fromEntries(
      ["view", "slider", "play", "clock", "scene", "class", "search", "layers", "details", "kind", "failures",
        "cameras", "follow", "count"].map((name) => [name, find(name)]),
    );
    this.embedded = new Map();
    for (const script of document.querySelectorAll("script[data-scene]")) {
      this.embedded.set(script.dataset.scene, script);
    }
    this.layers = {};
    this.selected = null;
    this.time = 0;
    this.playing = false;
    this.view = new BirdView(this.part.view, this, () => this.changed());
    this.details = new Details(this.part.details, this);
    this.failures = new Failures(this.part.failures, this.part.kind, this);
    this.cameras = new Cameras(this.part.cameras, this);
    this.listen();
    if (!this.followAddress()) this.open(this.embedded.keys().next().value);
  }

  listen() {
    const { part } = this;
    for (const box of part.layers.querySelectorAll("input")) {
      const set = () => {
        this.layers[box.value] = box.checked;
        this.changed();
      };
      box.addEventListener("change", set);
      set();
    }
    part.slider.addEventListener("input", () => this.go(Number(part.slider.value)));
    part.play.addEventListener("click", () => this.play(!this.playing));
    if (part.scene) part.scene.addEventListener("change", () => this.open(part.scene.value));
    part.class.addEventListener("change", () => this.filter());
    part.search.addEventListener("input", () => this.filter());
    part.follow.addEventListener("click", () => {
      this.view.center = null;
      this.changed();
    });
    for (const button of this.root.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => {
        this.view.zoom(Number(button.dataset.zoom));
        this.changed();
      });
    }
    this.root.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.followAddress());
    window.addEventListener("resize", () => this.changed());
  }

  key(event) {
    if (event.target.matches("input[type=search], select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const onView = event.target === this.part.view;
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (event.shiftKey && onView && event.key.startsWith("Arrow")) {
      const [dx, dy] = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
      this.view.fit();
      this.view.pan(dx, dy);
    } else if (step && event.target !== this.part.slider) this.go(Math.round(this.time) + step);
    else if (event.key === " " && (onView || event.target === this.root)) this.play(!this.playing);
    else if (event.key === "+" || event.key === "=") this.view.zoom(1.25);
    else if (event.key === "-") this.view.zoom(0.8);
    else if (event.key === "0") this.view.center = null;
    else if (event.key === "Home" && onView) this.go(0);
    else if (event.key === "End" && onView) this.go(this.scene.count - 1);
    else if (event.key === "Escape") this.select(null);
    else return;
    event.preventDefault();
    this.changed();
  }

  // "#view=scene&frame=3&object=id": what the page's tables link to.
  followAddress() {
    const asked = new URLSearchParams(window.location.hash.slice(1));
    const name = asked.get("view");
    if (!this.embedded.has(name)) return false;
    this.open(name);
    const object = this.scene.objects.find((o) => o.id === asked.get("object"));
    const frame = Number(asked.get("frame"));
    this.jump(Number.isFinite(frame) ? frame : 0, object || null);
    this.root.scrollIntoView();
    return true;
  }

  open(name) {
    if (this.scene && this.scene.name === name) return;
    this.scene = new Scene(JSON.parse(this.embedded.get(name).textContent));
    const { part } = this;
    if (part.scene) part.scene.value = name;
    part.slider.max = this.scene.count - 1;
    const options = ["all classes", ...this.scene.classes].map((text, i) => {
      const option = element("option", text);
      option.value = i ? text : "";
      return option;
    });
    const before = part.class.value;
    part.class.replaceChildren(...options);
    part.class.value = this.scene.classes.includes(before) ? before : "";
    for (const box of part.layers.querySelectorAll("input")) {
      const there = { lidar: this.scene.sensors !== null, before: this.scene.before.length > 0 }[box.value];
      box.parentElement.hidden = there === false;
    }
    this.view.center = null;
    this.select(null);
    this.filter();
    this.go(0);
  }

  filter() {
    this.onlyClass = this.part.class.value;
    this.words = this.part.search.value.trim().toLowerCase();
    this.failures.show();
    this.changed();
  }

  // Whether class and identity are among those asked for.
  shows(item) {
    if (this.onlyClass && item.class !== this.onlyClass) return false;
    return !this.words || item.id.toLowerCase().includes(this.words);
  }

  select(item) {
    this.selected = item;
    this.details.show();
    this.changed();
  }

  // Show a frame, with an object or track chosen and in the middle.
  jump(frame, item) {
    this.play(false);
    this.go(frame);
    if (item) {
      const b = item.at(this.time);
      if (b) this.view.center = { x: b.x, y: b.y };
    }
    this.select(item);
  }

  go(time) {
    this.time = Math.min(Math.max(time, 0), this.scene.count - 1);
    this.changed();
  }

  play(on) {
    if (on === this.playing) return;
    this.playing = on;
    this.part.play.textContent = on ? "Pause" : "Play";
    if (on && this.time >= this.scene.count - 1) this.time = 0;
    this.last = null;
    this.changed();
  }

  changed() {
    if (this.asked || !this.scene) return;
    this.asked = requestAnimationFrame((now) => {
      this.asked = 0;
      this.draw(now);
    });
  }

  draw(now) {
    if (this.playing) {
      this.time += this.last === null ? 0 : ((now - this.last) / 1000) * SPEED;
      this.last = now;
      if (this.time >= this.scene.count - 1) {
        this.time = this.scene.count - 1;
        this.play(false);
      } else this.changed();
    }
    const frame = Math.round(this.time);
    const { part } = this;
    part.slider.value = frame;
    part.clock.textContent = `frame ${frame + 1} of ${this.scene.count}, ${this.scene.seconds(this.time).toFixed(1)} s`;
    part.slider.setAttribute("aria-valuetext", part.clock.textContent);
    this.view.draw();
    this.cameras.draw();
    this.details.move();
    const seen = (items) => items.filter((item) => item.row.has(frame) && this.shows(item)).length;
    part.count.textContent = `${seen(this.scene.tracks)} tracks, ${seen(this.scene.objects)} objects`;
  }
}

for (const root of document.querySelectorAll(".explorer")) root.explorer = new Explorer(root);
