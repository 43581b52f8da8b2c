// The multi-layer perceptron from scratch, as in fmnist.mlp: same equations, same names, same order
// of operations. tests/test_try.py starts both with the same weights and compares them after 20
// steps.
//
// A matrix (m, n) is one Float32Array, row after row. All three products below run along rows,
// which is what a processor's cache likes, and leave out zeros: half of all pixels, and half of
// what ReLU lets through.

// Numbers from 0 to 1 that look random and are the same for the same seed ("mulberry32").
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Two uniform numbers make a normal one: mean 0, deviation 1 (Box and Muller, 1958).
export function normal(draw) {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}

// The numbers 0 to n - 1 in random order (Fisher and Yates).
export function shuffled(n, draw) {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(draw() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// Value and slope of each activation at z.
const sigmoid = (z) => 0.5 + 0.5 * Math.tanh(0.5 * z);
export const ACTIVATIONS = {
  relu: (z) => (z > 0 ? [z, 1] : [0, 0]),
  leaky_relu: (z) => (z >= 0 ? [z, 1] : [0.01 * z, 0.01]),
  tanh: (z) => {
    const a = Math.tanh(z);
    return [a, 1 - a * a];
  },
  sigmoid: (z) => {
    const a = sigmoid(z);
    return [a, a * (1 - a)];
  },
  gelu: (z) => {
    const c = Math.sqrt(8 / Math.PI);
    const h = sigmoid(c * (z + 0.044715 * z ** 3));
    return [z * h, h + z * h * (1 - h) * c * (1 + 3 * 0.044715 * z * z)];
  },
};

// z = a W + b (equation 1), for m rows of a.
export function linear(a, m, { W, b, n, k }) {
  const z = new Float32Array(m * k);
  const terms = new Terms(n);
  for (let row = 0; row < m; row++) {
    z.set(b, row * k);
    terms.count = 0;
    for (let i = 0; i < n; i++) terms.add(a[row * n + i], i * k);
    terms.sum(W, k, z, row * k);
  }
  return z;
}

// Rows of a matrix, each times a number, added to a row; numbers that are 0 are left out.
export class Terms {
  constructor(most) {
    Object.assign(this, { factors: new Float64Array(most), rows: new Int32Array(most), count: 0 });
  }

  // A factor, and where its row begins.
  add(factor, row) {
    if (factor === 0) return;
    this.factors[this.count] = factor;
    this.rows[this.count++] = row;
  }

  // Add all of them to k numbers of `out`, four at a time: sums stay in the processor's registers.
  sum(matrix, k, out, to) {
    const { factors, rows, count } = this;
    let o = 0;
    for (; o + 3 < k; o += 4) {
      let [a, b, c, d] = [0, 0, 0, 0];
      for (let j = 0; j < count; j++) {
        const factor = factors[j];
        const at = rows[j] + o;
        a += factor * matrix[at];
        b += factor * matrix[at + 1];
        c += factor * matrix[at + 2];
        d += factor * matrix[at + 3];
      }
      out[to + o] += a;
      out[to + o + 1] += b;
      out[to + o + 2] += c;
      out[to + o + 3] += d;
    }
    for (; o < k; o++) {
      for (let j = 0; j < count; j++) out[to + o] += factors[j] * matrix[rows[j] + o];
    }
  }
}

// da = dz W^T: what the layer below is to blame for.
function blame(dz, m, { W, n, k }) {
  const da = new Float32Array(m * n);
  for (let row = 0; row < m; row++) {
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let j = 0; j < k; j++) sum += dz[row * k + j] * W[i * k + j];
      da[row * n + i] = sum;
    }
  }
  return da;
}

// W -= a^T dz, b -= the sum of dz; the learning rate is in dz already.
function descend(a, dz, m, { W, b, n, k }) {
  const terms = new Terms(m);
  for (let row = 0; row < m; row++) terms.add(-1, row * k);
  terms.sum(dz, k, b, 0);
  for (let i = 0; i < n; i++) {
    terms.count = 0;
    for (let row = 0; row < m; row++) terms.add(-a[row * n + i], row * k);
    terms.sum(dz, k, W, i * k);
  }
}

// Probabilities of m rows of logits, in their place: softmax.
export function softmax(z, m) {
  const k = z.length / m;
  for (let row = 0; row < m; row++) {
    const part = z.subarray(row * k, (row + 1) * k);
    const largest = Math.max(...part);
    let sum = 0;
    for (let j = 0; j < k; j++) sum += part[j] = Math.exp(part[j] - largest);
    for (let j = 0; j < k; j++) part[j] /= sum;
  }
  return z;
}

export class MLP {
  // sizes: numbers of an input, units of each layer, classes. dropout: the probability of DROPPING
  // a hidden unit in training.
  constructor({ sizes, activation = "relu", dropout = 0, rate = 0.1, seed = 0 }) {
    Object.assign(this, { activation, dropout, rate, draw: uniform(seed) });
    this.layers = sizes.slice(1).map((k, i) => this.fresh(sizes[i], k));
  }

  // A layer with weights by He's rule: normal, with deviation sqrt(2/n), so that signals keep their
  // strength on their way up.
  fresh(n, k) {
    const deviation = Math.sqrt(2 / n);
    const W = Float32Array.from({ length: n * k }, () => deviation * normal(this.draw));
    return { W, b: new Float32Array(k), n, k };
  }

  // Probabilities (m, classes) of inputs (m, n). A list `kept` takes what `step` needs of each
  // layer.
  forward(x, m, kept = null) {
    let a = x;
    for (const layer of this.layers.slice(0, -1)) {
      const z = linear(a, m, layer);
      kept?.push(a);
      a = this.activate(z, kept);
    }
    kept?.push(a);
    return softmax(linear(a, m, this.layers.at(-1)), m);
  }

  // f(z) in the place of z, and the slopes in `kept`; in training, dropped units are 0 in both, and
  // the others scaled up, so that sums stay what they were.
  activate(z, kept) {
    const f = ACTIVATIONS[this.activation];
    const slopes = kept && new Float32Array(z.length);
    for (let i = 0; i < z.length; i++) {
      const scale = kept ? this.keep() : 1;
      const [value, slope] = f(z[i]);
      z[i] = value * scale;
      if (kept) slopes[i] = slope * scale;
    }
    kept?.push(slopes);
    return z;
  }

  // 0 for a unit that is dropped, else what to multiply it with.
  keep() {
    if (!this.dropout) return 1;
    return this.draw() < this.dropout ? 0 : 1 / (1 - this.dropout);
  }

  // Learn from m images: loss (mean cross-entropy, nats) and how many were right, before the step.
  step(x, labels) {
    const m = labels.length;
    const kept = [];
    const p = this.forward(x, m, kept);
    const judged = judge(p, labels);
    let dz = p; // (p - y)/m, times the learning rate
    labels.forEach((label, row) => (dz[row * (p.length / m) + label] -= 1));
    for (let i = 0; i < dz.length; i++) dz[i] *= this.rate / m;
    for (let i = this.layers.length - 1; i >= 0; i--) {
      const layer = this.layers[i];
      const a = kept.pop();
      const da = i && blame(dz, m, layer); // before the weights change
      descend(a, dz, m, layer);
      if (!i) break;
      const slopes = kept.pop();
      for (let j = 0; j < da.length; j++) da[j] *= slopes[j];
      dz = da;
    }
    return judged;
  }
}

// Mean cross-entropy of probabilities (m, classes), and how many rows have theirs at the label.
export function judge(p, labels) {
  const m = labels.length;
  const k = p.length / m;
  let loss = 0;
  let right = 0;
  for (let row = 0; row < m; row++) {
    const part = p.subarray(row * k, (row + 1) * k);
    loss -= Math.log(Math.max(part[labels[row]], 1e-30)) / m;
    right += part.indexOf(Math.max(...part)) === labels[row];
  }
  return { loss, right };
}
