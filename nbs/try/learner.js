// The worker of "watch it learn": networks train here, a few steps at a time, and tell the page
// what happened; between two turns they hear what the page wants.
import { readArrays } from "./arrays.js";
import { MLP, judge, shuffled } from "./mlp.js";

const BATCH = 64; // images in a step
const POINT = 8; // steps between two points of the training's curve
const TEST = 16; // steps between two looks at the test images
const TURN = 30; // milliseconds of training between two messages

let sample = null; // {train, trainLabels, test, testLabels}
let runs = []; // networks that learn, each with its own order of images
let running = false;
let goal = Infinity; // steps after which a run is over
let number = 0; // of the start that the page asked for

async function readSample() {
  const arrays = await readArrays(new URL("data/sample.bin", import.meta.url));
  const inputs = ({ data }) => Float32Array.from(data, (value) => value / 255);
  return {
    train: inputs(arrays.train),
    trainLabels: arrays.train_labels.data,
    test: inputs(arrays.test),
    testLabels: arrays.test_labels.data,
  };
}

class Run {
  constructor({ hidden, activation, dropout, rate }, seed) {
    this.network = new MLP({ sizes: [784, ...hidden, 10], activation, dropout, rate, seed });
    Object.assign(this, { seed, steps: 0, at: 0, order: [], points: [], loss: 0, right: 0 });
    this.test();
  }

  // The next batch; each epoch has a new order.
  batch() {
    if (this.at >= this.order.length) {
      this.order = shuffled(sample.trainLabels.length, this.network.draw);
      this.at = 0;
    }
    const rows = this.order.slice(this.at, (this.at += BATCH));
    const x = new Float32Array(rows.length * 784);
    rows.forEach((row, i) => x.set(sample.train.subarray(784 * row, 784 * (row + 1)), 784 * i));
    return [x, Uint8Array.from(rows, (row) => sample.trainLabels[row])];
  }

  step() {
    const [x, labels] = this.batch();
    const { loss, right } = this.network.step(x, labels);
    this.steps += 1;
    this.loss += loss / POINT;
    this.right += right / labels.length / POINT;
    if (this.steps % POINT === 0) {
      const { steps } = this;
      this.points.push({ of: "training", steps, loss: this.loss, accuracy: this.right });
      this.loss = this.right = 0;
    }
    if (this.steps % TEST === 0) this.test();
  }

  test() {
    const { test, testLabels } = sample;
    const { loss, right } = judge(this.network.forward(test, testLabels.length), testLabels);
    const accuracy = right / testLabels.length;
    this.points.push({ of: "test", steps: this.steps, loss, accuracy });
  }

  // What the page has not heard yet.
  news() {
    const { seed, steps, points } = this;
    this.points = [];
    return { seed, steps, points };
  }
}

// All runs side by side, until it is time to tell.
function turn() {
  if (!running) return;
  const end = performance.now() + TURN;
  do {
    for (const run of runs) if (run.steps < goal) run.step();
  } while (performance.now() < end && runs[0].steps < goal);
  running = runs[0].steps < goal;
  tell();
  if (running) setTimeout(turn);
}

// News of all runs, and the first layer's weights of a single one.
function tell() {
  const [first] = runs[0].network.layers;
  const weights = runs.length === 1 ? first.W.slice() : null;
  const news = runs.map((run) => run.news());
  self.postMessage({ number, news, weights, units: first.k, running });
}

const orders = {
  async start({ settings, seeds, steps, number: asked }) {
    sample ??= await readSample();
    [goal, number] = [steps, asked];
    runs = seeds.map((seed) => new Run(settings, seed));
    tell();
  },
  run() {
    if (running || !runs.length) return;
    running = true;
    turn();
  },
  pause() {
    running = false;
  },
  // The learning rate and dropout may change while it learns.
  change(settings) {
    for (const run of runs) Object.assign(run.network, settings);
  },
  // What the network makes of 784 bytes by now.
  ask({ id, pixels }) {
    if (!runs.length) return;
    const answer = runs[0].network.forward(
      Float32Array.from(pixels, (value) => value / 255),
      1,
    );
    self.postMessage({ id, answer });
  },
};

// One order after the other: what is asked while the sample is being fetched waits.
let last = Promise.resolve();
self.onmessage = ({ data: [order, value] }) => {
  last = last
    .then(() => orders[order](value))
    .catch((error) => {
      self.postMessage({ error: error.message });
    });
};
