// The worker of "Try it": the two networks that come with the package answer here, so that the page
// stays smooth. Each file is fetched when its network is first asked.
import { readArrays } from "./arrays.js";
import { ModernCNN } from "./cnn.js";
import { linear, softmax } from "./mlp.js";
import { mirrored } from "./picture.js";

const COVER = 6; // pixels, the side of the square that is covered
const STRIDE = 3; // pixels, how far it moves
const fetched = (name) => readArrays(new URL(`data/${name}.bin`, import.meta.url));

// The MLP: scaled pixels, hidden layers with ReLU, softmax.
async function readMLP() {
  const { about, ...arrays } = await fetched("mlp");
  const [mean, deviation] = about.scaling;
  const layers = about.layers.map((k, i) => {
    const [n] = arrays[`W${i}`].shape;
    return { W: arrays[`W${i}`].data, b: arrays[`b${i}`].data, n, k };
  });
  return (pixels) => {
    let a = Float32Array.from(pixels, (value) => (value / 255 - mean) / deviation);
    layers.forEach((layer, i) => {
      a = linear(a, 1, layer);
      if (about.activations[i] === "relu") a = a.map((z) => Math.max(0, z));
    });
    return softmax(a, 1);
  };
}

async function readCNN() {
  const network = new ModernCNN(await fetched("modern_cnn"));
  return (pixels) => network.predict(pixels);
}

// What is asked first starts the fetching; a failure is forgotten, so that the next try may
// succeed.
const readers = { mlp: readMLP, modern_cnn: readCNN };
const networks = {};
function network(name) {
  networks[name] ??= readers[name]();
  networks[name].catch(() => delete networks[name]);
  return networks[name];
}

const odds = (p) => Math.log((p + 1e-6) / (1 - p + 1e-6));

// The image with a square of background on it; null where there is nothing to cover.
function covered(pixels, top, left) {
  const changed = pixels.slice();
  let ink = 0;
  for (let y = Math.max(0, top); y < Math.min(28, top + COVER); y++) {
    for (let x = Math.max(0, left); x < Math.min(28, left + COVER); x++) {
      ink += changed[28 * y + x];
      changed[28 * y + x] = 0;
    }
  }
  return ink ? changed : null;
}

// What mattered to the CNN, by occlusion: for each pixel, how much the log-odds of its answer fall,
// on average over the squares that cover the pixel. `isCurrent` says whether anybody still wants
// it.
async function heatMap(pixels, isCurrent) {
  const predict = await network("modern_cnn");
  const before = predict(pixels);
  const answer = before.indexOf(Math.max(...before));
  const sum = new Float32Array(784);
  const count = new Uint8Array(784);
  let lowest = before[answer];
  for (let top = -3; top < 28; top += STRIDE) {
    for (let left = -3; left < 28; left += STRIDE) {
      const changed = covered(pixels, top, left);
      const p = changed ? predict(changed)[answer] : before[answer];
      lowest = Math.min(lowest, p);
      for (let y = Math.max(0, top); y < Math.min(28, top + COVER); y++) {
        for (let x = Math.max(0, left); x < Math.min(28, left + COVER); x++) {
          sum[28 * y + x] += odds(before[answer]) - odds(p);
          count[28 * y + x] += 1;
        }
      }
    }
    await new Promise((next) => setTimeout(next)); // a newer question comes first
    if (!isCurrent()) return null;
  }
  return { answer, before: before[answer], lowest, heat: sum.map((value, i) => value / count[i]) };
}

const kinds = {
  mlp: async (pixels) => (await network("mlp"))(pixels),
  modern_cnn: async (pixels) => (await network("modern_cnn"))(pixels),
  mirrored: async (pixels) => (await network("modern_cnn"))(mirrored(pixels)),
  heat: heatMap,
};

// A question is {id, pixels, want}, one of `kinds`; the newest id counts.
let newest = 0;
self.onmessage = async ({ data: { id, pixels, want } }) => {
  newest = Math.max(newest, id);
  await new Promise((next) => setTimeout(next)); // hear newer questions first
  try {
    const isCurrent = () => id === newest;
    const answer = isCurrent() && (await kinds[want](pixels, isCurrent));
    if (answer) self.postMessage({ id, want, answer });
  } catch (error) {
    self.postMessage({ id, want, error: error.message });
  }
};
