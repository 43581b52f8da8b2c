// The modern CNN (fmnist.modern_cnn), forwards: whitening, blocks of convolution, pooling,
// normalisation and ReLU, the largest of each map, one matrix.
//
// Why no library: in Chromium on two cores an image takes onnxruntime-web 1.30 4 ms and this file 5
// ms, TensorFlow.js 4.22 3 ms with WebAssembly and 33 without; all agree with Python to 1e-6. They
// would load 14.3, 1.7 and 1.1 MB for the 0.6 MB of weights, this file is 5 kB.
//
// Maps are (height, width, channels), one Float32Array: the innermost loop runs along the output's
// channels, and leaves out inputs that are 0, which after ReLU are about half of all.
import { Terms, linear, softmax } from "./mlp.js";

// 3 x 3 convolution with a border of zeros; weights (3, 3, channels in, channels out) as 64-bit
// floats, so that none has to be converted on the way.
export function convolve(maps, size, inputs, weights, outputs) {
  const out = new Float32Array(size * size * outputs);
  const terms = new Terms(9 * inputs);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      gather(terms, maps, size, inputs, outputs, y, x);
      terms.sum(weights, outputs, out, (y * size + x) * outputs);
    }
  }
  return out;
}

// The inputs around a pixel, and where their weights begin.
function gather(terms, maps, size, inputs, outputs, y, x) {
  terms.count = 0;
  for (let dy = Math.max(0, 1 - y); dy < Math.min(3, size + 1 - y); dy++) {
    for (let dx = Math.max(0, 1 - x); dx < Math.min(3, size + 1 - x); dx++) {
      const from = ((y + dy - 1) * size + x + dx - 1) * inputs;
      const row = (dy * 3 + dx) * inputs;
      for (let i = 0; i < inputs; i++) terms.add(maps[from + i], (row + i) * outputs);
    }
  }
}

// The largest of each 2 x 2 pixels; an odd last row or column is left out.
export function pool(maps, size, channels) {
  const half = size >> 1;
  const out = new Float32Array(half * half * channels);
  const row = size * channels;
  for (let y = 0; y < half; y++) {
    for (let x = 0; x < half; x++) {
      for (let c = 0; c < channels; c++) {
        const at = 2 * y * row + 2 * x * channels + c;
        const upper = Math.max(maps[at], maps[at + channels]);
        const lower = Math.max(maps[at + row], maps[at + row + channels]);
        out[(y * half + x) * channels + c] = Math.max(upper, lower);
      }
    }
  }
  return out;
}

// Scale and shift each map, then ReLU; in place.
function normaliseRelu(maps, gain, shift) {
  const channels = gain.length;
  for (let at = 0; at < maps.length; at += channels) {
    for (let c = 0; c < channels; c++)
      maps[at + c] = Math.max(0, maps[at + c] * gain[c] + shift[c]);
  }
  return maps;
}

// What is left of each map: its largest value, or its mean.
function summary(maps, channels, final) {
  const largest = final === "max";
  const out = new Float32Array(channels).fill(largest ? -Infinity : 0);
  const pixels = maps.length / channels;
  maps.forEach((value, at) => {
    const c = at % channels;
    out[c] = largest ? Math.max(out[c], value) : out[c] + value / pixels;
  });
  return out;
}

export class ModernCNN {
  // What `readArrays` found in data/cnn.bin.
  constructor(arrays) {
    const { settings, scale } = arrays.about;
    const wide = (name) => Float64Array.from(arrays[name].data);
    this.stem = arrays.stem && { weights: wide("stem"), outputs: arrays.stem.shape[3] };
    this.blocks = settings.channels.map((outputs, i) => ({
      outputs,
      weights: wide(`convolution${i + 1}`),
      gain: arrays[`gain${i + 1}`].data,
      shift: arrays[`shift${i + 1}`].data,
      pools: settings.pool_after.includes(i + 1),
      adds: settings.residual.includes(i + 1),
    }));
    const [n, k] = arrays.head.shape;
    const W = arrays.head.data.map((weight) => weight * scale); // the logits' damper
    this.head = { W, b: new Float32Array(k), n, k };
    Object.assign(this, { poolFirst: settings.pool_first, final: settings.final });
  }

  // Ten probabilities for one image: 784 bytes, 0 is background.
  predict(pixels) {
    let maps = Float32Array.from(pixels, (value) => value / 127.5 - 1);
    let size = Math.sqrt(pixels.length);
    let channels = 1;
    if (this.stem) {
      const { weights, outputs } = this.stem;
      maps = convolve(maps, size, 1, weights, outputs).map((value) => Math.max(0, value));
      channels = outputs;
    }
    for (const block of this.blocks) {
      maps = this.pass(block, maps, size, channels);
      channels = block.outputs;
      size = block.pools ? size >> 1 : size;
    }
    return softmax(linear(summary(maps, channels, this.final), 1, this.head), 1);
  }

  // One block.
  pass({ weights, gain, shift, outputs, pools, adds }, maps, size, channels) {
    let out = convolve(maps, size, channels, weights, outputs);
    if (pools && this.poolFirst) out = pool(out, size, outputs);
    out = normaliseRelu(out, gain, shift);
    if (pools && !this.poolFirst) out = pool(out, size, outputs);
    if (adds) out.forEach((_, at) => (out[at] += maps[at]));
    return out;
  }
}
