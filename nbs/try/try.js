// The left half: a picture becomes 28 x 28 pixels, and the networks answer while one draws.
import { readArrays } from "./arrays.js";
import { ON_WHITE, diverging, grey } from "./charts.js";
import { startDrawing } from "./drawing.js";
import { mirrored, prepare } from "./picture.js";

const find = (id) => document.getElementById(id);
const NETWORKS = { modern_cnn: "CNN", mlp: "MLP" };
const FIRST = 9; // of the fifty, a boot: what is shown at first
const UNSURE = 0.45; // as in fmnist.use: the CNN is less sure of 2 in 100 test images
// What the page is about just now.
const shown = { id: 0, pixels: null, answers: {}, remarks: [], steps: [] };
let classes = [];
let own = null; // the network of the right half, once it has learned something
let worker = null;

export function startTrying(learning) {
  own = learning;
  const pad = startDrawing({ onChange: usePicture });
  own.onChange(() => shown.pixels && own.ask(shown.id, shown.pixels));
  own.onAnswer((id, answer) => take(id, "own", answer));
  find("mirror").addEventListener("click", mirror);
  readArrays(new URL("data/images.bin", import.meta.url)).then(
    (arrays) => showPicks(arrays, pad),
    (error) => (find("verdict").textContent = `The test images did not come: ${error.message}.`),
  );
}

// --- what is asked ---

// A drawing or a photo: its steps are shown, then the networks are asked.
function usePicture(picture) {
  press(null);
  if (!picture) return clear();
  const { pixels, steps, remarks } = prepare(picture);
  showSteps(steps);
  if (pixels) ask(pixels, remarks);
  else clear(remarks);
}

// A test image is 28 x 28 pixels already. An answer may be known before a network is asked.
function useTestImage({ pixels, canvas, label, button }, pad, answers = null) {
  pad.show(canvas);
  press(button);
  showSteps([asItIs(pixels)]);
  const remarks = [`Its label: ${classes[label]}.`];
  if (!answers) return ask(pixels, remarks);
  begin(pixels, remarks);
  shown.answers = answers;
  showAnswers();
}

// The last step, the other way round.
function mirror() {
  if (!shown.pixels) return;
  const pixels = mirrored(shown.pixels);
  const was = shown.steps.at(-1);
  const name = was.name === "mirrored" ? "28 × 28" : "mirrored";
  showSteps([
    ...shown.steps.slice(0, -1),
    { ...was, name, image: { ...was.image, values: pixels } },
  ]);
  ask(pixels, shown.remarks);
}

const asItIs = (pixels) => ({
  name: "as it is",
  image: { values: pixels, height: 28, width: 28 },
});

function begin(pixels, remarks = []) {
  Object.assign(shown, { id: shown.id + 1, pixels, answers: {}, remarks });
}

function ask(pixels, remarks) {
  begin(pixels, remarks);
  clearHeat();
  worker ??= startWorker();
  for (const want of ["mlp", "modern_cnn", "mirrored", "heat"]) {
    worker.postMessage({ id: shown.id, pixels, want });
  }
  own.ask(shown.id, pixels);
}

function startWorker() {
  const made = new Worker(new URL("answers.js", import.meta.url), { type: "module" });
  made.onmessage = ({ data: { id, want, answer, error } }) => {
    if (error) find("verdict").textContent = `No answer: ${error}.`;
    else if (want === "heat" && id === shown.id) showHeat(answer);
    else take(id, want, answer);
  };
  return made;
}

// --- what is answered ---

// An answer is worth showing if it is about what is shown.
function take(id, name, answer) {
  if (id !== shown.id) return;
  shown.answers[name] = [...answer];
  showAnswers();
}

function showAnswers() {
  const { answers } = shown;
  document.querySelector("#answers .own").hidden = !answers.own;
  const rows = classes.map((label, k) => {
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), { scope: "row", textContent: label });
    row.append(head);
    for (const [name, kind] of [
      ["modern_cnn", "cnn"],
      ["mlp", "mlp"],
      ["own", "own"],
    ]) {
      if (name !== "own" || answers.own) row.append(bar(answers[name], k, kind));
    }
    return row;
  });
  document.querySelector("#answers tbody").replaceChildren(...rows);
  const isWhole = Object.keys(NETWORKS).every((name) => answers[name]);
  if (isWhole) find("verdict").textContent = sentences().join(" ");
  find("answers").dataset.told = isWhole ? shown.id : "";
}

// What a reader should know beside the numbers; a screen reader says it aloud.
function sentences() {
  const { answers, remarks } = shown;
  const { modern_cnn: cnn, mirrored: other } = answers;
  const said = Object.entries(NETWORKS).map(([name, short]) => `${short}: ${best(answers[name])}.`);
  if (Math.max(...cnn) < UNSURE)
    said.push("The CNN is unsure: perhaps this is nothing that it knows.");
  if (other && top(other) !== top(cnn)) said.push(`Mirrored, it would be ${best(other)}.`);
  return [...said, ...remarks];
}

// A cell: the percentage, and a bar of that length below it.
function bar(answer, k, kind) {
  const cell = Object.assign(document.createElement("td"), { className: kind });
  if (!answer) return cell;
  const number = document.createElement("span");
  number.textContent = (100 * answer[k]).toFixed(answer[k] < 0.0995 ? 1 : 0);
  cell.append(document.createElement("i"), number);
  cell.style.setProperty("--share", answer[k]);
  cell.classList.toggle("first", answer[k] === Math.max(...answer));
  return cell;
}

const top = (answer) => answer.indexOf(Math.max(...answer));
const best = (answer) => `${classes[top(answer)]} ${(100 * Math.max(...answer)).toFixed(0)} %`;

function clear(remarks = []) {
  begin(null);
  if (!remarks.length) showSteps([]);
  clearHeat();
  showAnswers();
  find("verdict").textContent = remarks.join(" ");
}

// --- pictures ---

function showSteps(steps) {
  shown.steps = steps;
  const items = steps.map(({ name, image, light }) => {
    const canvas = document.createElement("canvas");
    grey(canvas, light ? image.values.map((value) => 255 - value) : image.values, image);
    canvas.setAttribute("aria-hidden", "true"); // its name says what it is
    const item = document.createElement("li");
    item.append(canvas, name);
    return item;
  });
  find("steps").replaceChildren(...items);
}

function clearHeat() {
  const canvas = find("heat");
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  find("heat-says").textContent = "";
  delete canvas.dataset.id;
}

// The heat over a pale copy of the image.
function showHeat({ answer, before, lowest, heat }) {
  const strongest = Math.max(0.5, ...heat.map(Math.abs));
  const small = document.createElement("canvas");
  small.width = small.height = 28;
  const image = diverging((i) => heat[i], 28, strongest, ON_WHITE);
  for (let i = 0; i < 784; i++) {
    const ink = 0.45 * shown.pixels[i]; // darkens where the clothes are
    for (let c = 0; c < 3; c++) image.data[4 * i + c] *= 1 - ink / 255;
  }
  small.getContext("2d").putImageData(image, 0, 0);
  const canvas = find("heat");
  canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
  canvas.dataset.id = shown.id;
  const [from, to] = [before, lowest].map((p) => `${(100 * p).toFixed(0)} %`);
  find("heat-says").textContent =
    `${classes[answer]} ${from}; with the worst square covered, ${to}.`;
}

// --- fifty test images ---

function showPicks({ about, images, labels, modern_cnn, mlp }, pad) {
  classes = about.classes;
  const picks = [...labels.data].map((label, i) => {
    const pixels = images.data.slice(784 * i, 784 * (i + 1));
    const pick = {
      pixels,
      label,
      ...pickButton(pixels, `${classes[label]} ${1 + ((i / 10) | 0)}`),
    };
    pick.button.addEventListener("click", () => useTestImage(pick, pad));
    return pick;
  });
  const buttons = picks.map((pick) => pick.button);
  find("picks").replaceChildren(...buttons);
  arrows(buttons);
  if (shown.pixels) return; // somebody was faster
  // Before the first tap no network is loaded: Python answered when the site was built.
  const answer = ({ data }) => [...data.subarray(10 * FIRST, 10 * (FIRST + 1))];
  useTestImage(picks[FIRST], pad, { modern_cnn: answer(modern_cnn), mlp: answer(mlp) });
}

function pickButton(pixels, name) {
  const button = Object.assign(document.createElement("button"), { type: "button", title: name });
  const canvas = document.createElement("canvas");
  grey(canvas, pixels, { width: 28, height: 28 });
  button.ariaLabel = name;
  button.append(canvas);
  return { button, canvas };
}

// One of fifty is reached by the tab key, the others by arrows.
function arrows(buttons) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -50, End: 50 };
  buttons.forEach((button, i) => {
    button.tabIndex = i ? -1 : 0;
    button.addEventListener("keydown", (event) => {
      const { key } = event;
      if (!(key in steps)) return;
      event.preventDefault(); // the page does not scroll
      const to = buttons[Math.min(49, Math.max(0, i + steps[key]))];
      for (const each of buttons) each.tabIndex = each === to ? 0 : -1;
      to.focus();
    });
  });
}

function press(button) {
  for (const each of find("picks").children) each.ariaPressed = String(each === button);
}
