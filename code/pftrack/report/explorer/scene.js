// A scene as the page embeds it (scene_data.py), in metres, with what the other parts ask of it.

class Sequence {
  // One object or one track: what it is and where it stands in each of its frames.
  constructor(entry, kind, number) {
    Object.assign(this, entry, { kind, number });
    this.row = new Map(entry.frames.map((frame, row) => [frame, row]));
    this.first = entry.frames[0];
    this.last = entry.frames[entry.frames.length - 1];
    this.label = kind === "object" ? entry.id.slice(0, 6) : entry.id.split("-").pop();
  }

  // Where it stands at a time between two key frames (in frames), or null.
  at(time) {
    const frame = Math.floor(time);
    const row = this.row.get(frame);
    if (row === undefined) return null;
    const next = this.row.get(frame + 1);
    const part = next === undefined ? 0 : time - frame;
    const blend = (column) => {
      const value = this[column][row];
      return part ? value + part * (this[column][next] - value) : value;
    };
    let yaw = this.yaw[row];
    if (part) {
      // Around the circle the short way.
      const turn = this.yaw[next] - yaw;
      yaw += part * (turn - 628.3185 * Math.round(turn / 628.3185));
    }
    const [width, length, height] = this.size;
    return {
      row, frame,
      x: blend("x") / 100, y: blend("y") / 100, z: blend("z") / 100, yaw: yaw / 100,
      width: width / 100, length: length / 100, height: height / 100,
      filled: this.filled[row] === 1,
    };
  }

  // The places of the last frames up to a time, oldest first.
  history(time, frames) {
    const points = [];
    for (let f = Math.floor(time) - frames; f <= Math.floor(time); f++) {
      const row = this.row.get(f);
      if (row !== undefined) points.push([this.x[row] / 100, this.y[row] / 100]);
    }
    const here = this.at(time);
    if (here) points.push([here.x, here.y]);
    return points;
  }

  // Where a row's forecast says it will stand, every half second.
  future(row) {
    const steps = this.forecast ? this.forecast[row] : [];
    const points = [];
    for (let i = 0; i < steps.length; i += 2) {
      points.push([(this.x[row] + steps[i]) / 100, (this.y[row] + steps[i + 1]) / 100]);
    }
    return points;
  }

  // Runs of frames with the same partner: [partner (-1: none), first frame, last frame].
  partners() {
    const column = this.kind === "object" ? this.track : this.object;
    const runs = [];
    this.frames.forEach((frame, row) => {
      const run = runs[runs.length - 1];
      if (run && run[0] === column[row]) run[2] = frame;
      else runs.push([column[row], frame, frame]);
    });
    return runs;
  }
}

class Scene {
  constructor(data) {
    this.name = data.name;
    this.classes = data.classes;
    this.times = data.times;
    this.count = data.times.length;
    this.ego = data.ego;
    this.sensors = data.sensors || null;
    this.objects = data.truth.map((entry, i) => new Sequence(entry, "object", i));
    this.tracks = data.tracks.map((entry, i) => new Sequence(entry, "track", i));
    this.before = data.before.map((entry, i) => new Sequence(entry, "before", i));
    this.events = data.events
      .map(([kind, frame, object, from, to, length]) => ({ kind, frame, object, from, to, length }))
      .sort((a, b) => a.frame - b.frame);
  }

  // The vehicle at a time: x, y in m, yaw in rad.
  egoAt(time) {
    const frame = Math.min(Math.floor(time), this.count - 1);
    const [x, y, yaw] = this.ego[frame];
    const [nx, ny] = this.ego[Math.min(frame + 1, this.count - 1)];
    const part = time - frame;
    return { x: (x + part * (nx - x)) / 100, y: (y + part * (ny - y)) / 100, yaw: yaw / 100 };
  }

  // Seconds since the scene began, of a time in frames.
  seconds(time) {
    const frame = Math.min(Math.floor(time), this.count - 1);
    const next = Math.min(frame + 1, this.count - 1);
    return this.times[frame] + (time - frame) * (this.times[next] - this.times[frame]);
  }

  // Lidar points [x, y, x, y, ...] of a frame, cm from the vehicle; decoded once.
  lidar(frame) {
    const data = this.sensors && this.sensors[frame];
    if (!data || !data.lidar) return null;
    if (!data.points) {
      const bytes = Uint8Array.from(atob(data.lidar), (c) => c.charCodeAt(0));
      data.points = new Int16Array(bytes.buffer);
    }
    return data.points;
  }
}
