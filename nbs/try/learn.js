// The right half: what the worker tells of its networks becomes moving pictures.
import { colour, curves, weightTiles } from "./charts.js";

const EPOCH = 2000 / 64; // steps
const TEN = Array.from({ length: 10 }, (_, i) => i); // added to the seed that is asked for
const LONG = 5; // epochs that each of ten networks learns
const PERCENT = [0.5, 0.75, 1].map((value) => ({ value, text: `${100 * value} %` }));
const LOSS = [0, 1, 2].map((value) => ({ value, text: String(value) }));

const find = (id) => document.getElementById(id);
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

let worker = null;
let state = null; // what has been told since the last start
let running = false;
let planned = false;
let drawn = -Infinity; // when
const listeners = { change: [], answer: [] };

export function startLearning() {
  const form = find("settings");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => changeSetting(target));
  find("learn").addEventListener("click", () => (running ? pause() : learn()));
  find("again").addEventListener("click", () => restart());
  find("another").addEventListener("click", () => {
    form.elements.seed.value = Number(form.elements.seed.value) + 1;
    restart();
  });
  find("ten").addEventListener("click", () => begin(TEN.map((i) => settings().seed + i)));
  const redraw = () => state && plan();
  find("change").addEventListener("change", redraw);
  new MutationObserver(redraw).observe(document.documentElement, {
    attributeFilter: ["class", "data-scheme"],
  });
  window.addEventListener("resize", redraw);
  document.addEventListener("visibilitychange", () => {
    if (running) worker.postMessage([document.hidden ? "pause" : "run"]); // nobody looks
  });
  showEmpty();
  return {
    ask: (id, pixels) => state?.alone && worker.postMessage(["ask", { id, pixels }]),
    onChange: (listener) => listeners.change.push(listener),
    onAnswer: (listener) => listeners.answer.push(listener),
  };
}

function settings() {
  const { hidden, activation, rate, dropout, seed } = find("settings").elements;
  return {
    hidden: hidden.value ? hidden.value.split(",").map(Number) : [],
    activation: activation.value,
    rate: Number(rate.value),
    dropout: Number(dropout.value),
    seed: Math.max(0, Math.floor(Number(seed.value) || 0)),
  };
}

// Learning rate and dropout change at once; for the rest a network begins anew.
function changeSetting({ name }) {
  if (!state) return;
  const { rate, dropout } = settings();
  if (name === "rate" || name === "dropout") worker.postMessage(["change", { rate, dropout }]);
  else restart();
}

// --- orders ---

function begin(seeds) {
  worker ??= startWorker();
  const alone = seeds.length === 1;
  const nets = seeds.map((seed) => ({ seed, steps: 0, training: [], test: [] }));
  state = { number: (state?.number ?? 0) + 1, alone, nets, started: performance.now() };
  worker.postMessage(["pause"]);
  const steps = alone ? Infinity : Math.round(LONG * EPOCH);
  const { number } = state;
  worker.postMessage(["start", { settings: settings(), seeds, steps, number }]);
  find("alone").hidden = !alone;
  find("many").hidden = alone;
  run();
  plan();
}

function run() {
  running = true;
  state.since = { time: performance.now(), steps: state.nets[0].steps };
  worker.postMessage(["run"]);
  name();
}

function learn() {
  if (state?.alone) run();
  else begin([settings().seed]);
}

function pause() {
  worker.postMessage(["pause"]);
  running = false;
  name();
}

function restart() {
  begin([settings().seed]);
}

function name() {
  find("learn").textContent = running ? "Pause" : "Learn";
}

// --- news ---

function startWorker() {
  find("progress").textContent = "Fetching 2,000 images …";
  const made = new Worker(new URL("learner.js", import.meta.url), { type: "module" });
  made.onmessage = ({ data }) => {
    if (data.error) find("progress").textContent = `Learning stopped: ${data.error}.`;
    else if (data.answer) listeners.answer.forEach((each) => each(data.id, data.answer));
    else take(data);
  };
  return made;
}

function take({ number, news, weights, units, running: goesOn }) {
  if (number !== state.number) return; // of a start before this one
  news.forEach(({ steps, points }, i) => {
    const net = state.nets[i];
    net.steps = steps;
    for (const point of points) net[point.of].push(point);
  });
  if (weights) Object.assign(state, { weights, units, start: state.start ?? weights });
  if (!state.alone && !goesOn && news[0].steps) {
    running = false;
    name();
  }
  plan();
}

// One picture for each of the screen's at most; two a second for readers who want it calm.
function plan() {
  if (planned) return;
  planned = true;
  const wait = calm.matches && running ? Math.max(0, drawn + 500 - performance.now()) : 0;
  setTimeout(
    () =>
      requestAnimationFrame(() => {
        planned = false;
        drawn = performance.now();
        if (state.alone) showAlone();
        else showMany();
      }),
    wait,
  );
}

const last = (list) => list[list.length - 1];
const points = (list, what) => list.map((point) => [point.steps / EPOCH, point[what]]);
const percent = (value) => `${(100 * value).toFixed(1)} %`;

function showEmpty() {
  curves(find("loss"), [], { low: 0, high: 2.4, ticks: LOSS, title: "loss" });
  curves(find("accuracy"), [], { low: 0.4, high: 1, ticks: PERCENT, title: "accuracy" });
}

function showAlone() {
  const [{ steps, training, test }] = state.nets;
  const right = Math.max(5, steps / EPOCH);
  const series = (what) => [
    { points: points(training, what), colour: colour("--accent") },
    { points: points(test, what), colour: colour("--warm"), wide: 2 },
  ];
  curves(find("loss"), series("loss"), { low: 0, high: 2.4, ticks: LOSS, right, title: "loss" });
  const scale = { low: 0.4, high: 1, ticks: PERCENT, right, title: "accuracy" };
  curves(find("accuracy"), series("accuracy"), scale);
  if (state.weights) showWeights(state);
  showProgress(steps, last(test));
  for (const each of listeners.change) each();
}

// The first layer, or how far it has come from where it began.
function showWeights({ weights, start, units }) {
  const change = find("change").checked;
  const shown = change ? weights.map((value, i) => value - start[i]) : weights;
  weightTiles(find("weights"), shown, units);
}

function showProgress(steps, test) {
  const { time, steps: from } = state.since;
  const speed = (steps - from) / ((performance.now() - time) / 1000);
  const fast = running ? `, ${speed.toFixed(0)} steps a second` : "";
  const accuracy = test ? percent(test.accuracy) : "";
  const broken = test && !Number.isFinite(test.loss);
  const says = broken
    ? "The loss is no number any more: the learning rate is too high. Choose a lower one."
    : `${accuracy} of 500 test images right.`;
  find("progress").textContent =
    `Step ${steps.toLocaleString("en")}, epoch ${(steps / EPOCH).toFixed(1)}${fast}. ${says}`;
  Object.assign(find("progress").dataset, { steps, accuracy: test?.accuracy ?? 0 });
}

// --- ten at once ---

function showMany() {
  const box = find("ten-curves");
  while (box.children.length < state.nets.length) {
    box.append(Object.assign(document.createElement("canvas"), { role: "img" }));
  }
  const scale = { low: 0.4, high: 0.9, ticks: [], right: LONG };
  const all = state.nets.map(({ test }) => points(test, "accuracy"));
  state.nets.forEach(({ seed, test }, i) => {
    const others = all.map((each) => ({ points: each, colour: colour("--faint"), wide: 1 }));
    const own = { points: all[i], colour: colour("--warm"), wide: 2 };
    const accuracy = test.length ? percent(last(test).accuracy) : "";
    curves(box.children[i], [...others, own], {
      ...scale,
      title: `seed ${seed}`,
      corner: accuracy,
    });
    box.children[i].ariaLabel = `Accuracy with seed ${seed}: ${accuracy}`;
  });
  showLuck();
}

// What ten runs say that one does not.
function showLuck() {
  const ends = state.nets.map(({ test }) => last(test)?.accuracy ?? 0);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const epochs = (state.nets[0].steps / EPOCH).toFixed(1);
  const seconds = ((performance.now() - state.started) / 1000).toFixed(0);
  find("progress").textContent =
    `Ten networks, the same in all but the seed: epoch ${epochs} of ${LONG}, ${seconds} s.`;
  if (running) {
    find("luck").textContent = "";
    return;
  }
  const apart = (100 * (high - low)).toFixed(1);
  find("luck").textContent =
    `From ${percent(low)} to ${percent(high)}: ${apart} points between two runs of the same ` +
    "thing. Whoever tries a change once, and gains less, has learned nothing about the change.";
}
