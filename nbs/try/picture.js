// From a picture to 28 x 28 pixels, as fmnist.use.prepare does it, function by function: find the
// object, invert, trim, scale, sharpen, centre. tests/test_try.py compares the two on pictures.
//
// An image is {values, height, width}: one list of numbers, row after row.

const WORK = 512; // pixels of the longest side in which the object is looked for
const CELLS = 64; // along the longest side
const LEAST = 13; // of 255: 5 %, as the set's authors trimmed

const mapped = (image, f) => ({ ...image, values: image.values.map(f) });

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// Luminance, 255 is white, as Pillow rounds it. What is transparent lies on white, or on black if
// what is opaque is light. null if all is transparent.
export function asGrey({ data, width, height }) {
  const values = new Float64Array(width * height);
  let [opaque, sum] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const at = 4 * i;
    const weighted = 19595 * data[at] + 38470 * data[at + 1] + 7471 * data[at + 2];
    values[i] = (weighted + 0x8000) >> 16;
    if (data[at + 3] > 127) [opaque, sum] = [opaque + 1, sum + values[i]];
  }
  if (!opaque) return null;
  const level = sum / opaque > 127.5 ? 0 : 255;
  for (let i = 0; i < values.length; i++) {
    const alpha = data[4 * i + 3];
    values[i] = Math.floor((values[i] * alpha + level * (255 - alpha) + 127) / 255);
  }
  return { values, height, width };
}

// Sums over squares of `size` x `size`, fewer at the right and lower edge; and their areas.
function blockSums({ values, height, width }, size) {
  const [rows, columns] = [Math.ceil(height / size), Math.ceil(width / size)];
  const sums = new Float64Array(rows * columns);
  const areas = new Float64Array(rows * columns);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const cell = Math.floor(y / size) * columns + Math.floor(x / size);
      sums[cell] += values[y * width + x];
      areas[cell] += 1;
    }
  }
  return { sums, areas, rows, columns };
}

// The means of k x k blocks, with the smallest k that will do.
function shrink(grey) {
  const size = Math.ceil(Math.max(grey.height, grey.width) / WORK);
  const { sums, areas, rows, columns } = blockSums(grey, size);
  return { values: sums.map((sum, i) => sum / areas[i]), height: rows, width: columns };
}

const frameWidth = ({ height, width }) =>
  Math.max(1, Math.floor(0.02 * Math.max(height, width) + 0.5));

// Rows and columns of an image, from one to another.
function part({ values, width }, [top, bottom], [left, right]) {
  const out = new Float64Array(Math.max(0, bottom - top) * Math.max(0, right - left));
  for (let y = top; y < bottom; y++) {
    const row = values.subarray(y * width + left, y * width + right);
    out.set(row, (y - top) * (right - left));
  }
  return out;
}

// The values along the border: 2 % of the longest side, all around.
function frame(image) {
  const [wide, { height, width }] = [frameWidth(image), image];
  if (2 * wide >= Math.min(height, width)) return image.values;
  const [all, inner] = [
    [0, width],
    [wide, height - wide],
  ];
  const sides = [
    part(image, [0, wide], all),
    part(image, [height - wide, height], all),
    part(image, inner, [0, wide]),
    part(image, inner, [width - wide, width]),
  ];
  return Float64Array.from(sides.flatMap((side) => [...side]));
}

// How light the ground is at each place: a plane through the medians of the four sides.
function background(grey) {
  const [wide, { height, width }] = [frameWidth(grey), grey];
  const middle = median(frame(grey));
  const [rows, columns] = [
    [0, height],
    [0, width],
  ];
  const side = (...place) => median(part(grey, ...place));
  const lowest = [Math.max(0, height - wide), height];
  const last = [Math.max(0, width - wide), width];
  const down = side(lowest, columns) - side([0, Math.min(wide, height)], columns);
  const right = side(rows, last) - side(rows, [0, Math.min(wide, width)]);
  return mapped(grey, (_, i) => {
    const [y, x] = [(Math.floor(i / width) + 0.5) / height, ((i % width) + 0.5) / width];
    return Math.min(255, Math.max(0, middle + down * (y - 0.5) + right * (x - 0.5)));
  });
}

// Which cells hang together, also over a corner: 0 where there is none, else a number from 1.
function pieces(cells, rows, columns) {
  const numbers = new Uint32Array(cells.length);
  let count = 0;
  cells.forEach((isThere, start) => {
    if (!isThere || numbers[start]) return;
    count += 1;
    const todo = [start];
    numbers[start] = count;
    while (todo.length) {
      for (const near of neighbours(todo.pop(), rows, columns)) {
        if (!cells[near] || numbers[near]) continue;
        numbers[near] = count;
        todo.push(near);
      }
    }
  });
  return { numbers, count };
}

function neighbours(at, rows, columns) {
  const [y, x] = [Math.floor(at / columns), at % columns];
  const found = [];
  for (let v = Math.max(y - 1, 0); v < Math.min(y + 2, rows); v++) {
    for (let u = Math.max(x - 1, 0); u < Math.min(x + 2, columns); u++) found.push(v * columns + u);
  }
  return found;
}

// 1 where a pixel differs from the ground, without specks.
function findObject(grey, ground) {
  const apart = mapped(grey, (value, i) => Math.abs(value - ground.values[i]));
  const least = Math.max(LEAST, 6 * median(frame(apart)));
  const mask = mapped(apart, (value) => (value >= least ? 1 : 0));
  const size = Math.ceil(Math.max(grey.height, grey.width) / CELLS);
  const { sums, areas, rows, columns } = blockSums(mask, size);
  const cells = sums.map((sum, i) => (sum > 0.1 * areas[i] ? 1 : 0));
  const { numbers, count } = pieces(cells, rows, columns);
  const sizes = new Float64Array(count + 1);
  numbers.forEach((number, i) => (sizes[number] += number && sums[i]));
  const enough = 0.05 * Math.max(...sizes);
  return mapped(mask, (value, i) => {
    const [y, x] = [Math.floor(i / grey.width), i % grey.width];
    const piece = sizes[numbers[Math.floor(y / size) * columns + Math.floor(x / size)]];
    return value && piece && piece >= enough ? 1 : 0;
  });
}

// How far each pixel is from the ground, 0 to 255: towards black for a dark object, towards white
// for a light one; 0 outside of the mask.
function ink(grey, ground, mask) {
  const darker = grey.values.map((value, i) => ground.values[i] - value);
  const isDark = darker.reduce((sum, value, i) => sum + value * mask.values[i], 0) >= 0;
  return mapped(grey, (_, i) => {
    const level = ground.values[i];
    const share = isDark ? darker[i] / Math.max(level, 1) : -darker[i] / Math.max(255 - level, 1);
    return 255 * Math.min(1, Math.max(0, share)) * mask.values[i];
  });
}

// The smallest rectangle around the object; bottom and right are the first outside.
function box({ values, height, width }) {
  let [top, bottom, left, right] = [height, 0, width, 0];
  values.forEach((value, i) => {
    if (!value) return;
    const [y, x] = [Math.floor(i / width), i % width];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
    [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
  });
  return { top, bottom, left, right };
}

function cut(image, { top, bottom, left, right }) {
  const values = part(image, [top, bottom], [left, right]);
  return { values, height: bottom - top, width: right - left };
}

// Each new pixel of a line is the mean of what lies below it.
function averaged(line, length) {
  const old = line.length;
  return Float64Array.from({ length }, (_, i) => {
    const [from, to] = [(i * old) / length, ((i + 1) * old) / length];
    let sum = 0;
    for (let at = Math.floor(from); at < Math.min(old, Math.ceil(to)); at++) {
      sum += line[at] * (Math.min(to, at + 1) - Math.max(from, at));
    }
    return (sum * length) / old;
  });
}

// The same for an image: along its rows, then along its columns.
function areaAverage({ values, height, width }, newHeight, newWidth) {
  const wide = new Float64Array(height * newWidth);
  for (let y = 0; y < height; y++) {
    wide.set(averaged(values.subarray(y * width, (y + 1) * width), newWidth), y * newWidth);
  }
  const out = new Float64Array(newHeight * newWidth);
  for (let x = 0; x < newWidth; x++) {
    const column = Float64Array.from({ length: height }, (_, y) => wide[y * newWidth + x]);
    averaged(column, newHeight).forEach((value, y) => (out[y * newWidth + x] = value));
  }
  return { values: out, height: newHeight, width: newWidth };
}

// Scaled, its proportions kept: the longer side 28.
function to28(image) {
  const factor = 28 / Math.max(image.height, image.width);
  const sides = [image.height, image.width].map((side) =>
    Math.max(1, Math.floor(factor * side + 0.5)),
  );
  return areaAverage(image, ...sides);
}

// Gaussian weights of standard deviation 1 over 5 x 5 pixels; the border repeats itself.
const BELL = [-2, -1, 0, 1, 2].map((x) => Math.exp(-0.5 * x * x));
const WEIGHTS = BELL.map((value) => value / BELL.reduce((a, b) => a + b));
function blurred(image) {
  const { height, width } = image;
  const along = (values, place) =>
    values.map((_, i) => {
      const [y, x] = [Math.floor(i / width), i % width];
      return WEIGHTS.reduce((sum, weight, k) => sum + weight * values[place(y, x, k - 2)], 0);
    });
  const inside = (value, length) => Math.min(length - 1, Math.max(0, value));
  const rows = along(image.values, (y, x, by) => inside(y + by, height) * width + x);
  return along(rows, (y, x, by) => y * width + inside(x + by, width));
}

// Stronger outlines, and full contrast: half of the difference from its blurred copy is added.
function sharpen(image) {
  const soft = blurred(image);
  const sharp = image.values.map((value, i) => Math.max(0, value + 0.5 * (value - soft[i])));
  const most = Math.max(1, ...sharp);
  return { ...image, values: sharp.map((value) => (255 * value) / most) };
}

// In the middle; an odd pixel goes above and left, as in the set.
function centre({ values, height, width }) {
  const [top, left] = [height, width].map((side) => (29 - side) >> 1);
  const out = new Float64Array(784);
  values.forEach((value, i) => {
    const at = 28 * (top + Math.floor(i / width)) + left + (i % width);
    out[at] = Math.floor(value + 0.5);
  });
  return { values: out, height: 28, width: 28 };
}

// An image of 28 x 28 has been prepared already, and may only be the wrong way round.
function asOfTheSet(grey) {
  const isLight = median(frame(grey)) > 127.5;
  return isLight ? mapped(grey, (value) => 255 - value) : grey;
}

// What `predict_picture` remarks about the object's place and size.
function remarksOn(mask, grey, small) {
  const { top, bottom, left, right } = box(mask);
  const sides = { upper: top === 0, lower: bottom === mask.height };
  Object.assign(sides, { left: left === 0, right: right === mask.width });
  const touched = Object.keys(sides).filter((name) => sides[name]);
  const longest = ({ height, width }) => Math.max(height, width);
  const pixels = Math.round(
    (Math.max(bottom - top, right - left) * longest(grey)) / longest(small),
  );
  const remarks = [];
  if (touched.length) {
    remarks.push(
      `The object touches the ${touched.join(" and ")} border: leave some ground around it.`,
    );
  }
  if (pixels < 28)
    remarks.push(`The object is only ${pixels} pixels long, less than the 28 of the set.`);
  return remarks;
}

// A picture (RGBA, as a canvas gives it) as {pixels: 784 bytes or null, steps: [{name, image,
// light}], remarks}; light steps have white as 255, the others as 0.
export function prepare(picture) {
  const grey = asGrey(picture);
  if (!grey) return nothing("The picture is transparent everywhere.", []);
  if (grey.height === 28 && grey.width === 28) return done([], grey, asOfTheSet(grey), []);
  const small = shrink(grey);
  const ground = background(small);
  const mask = findObject(small, ground);
  const steps = [{ name: "grey", image: small, light: true }];
  if (!mask.values.includes(1)) return nothing("Nothing stands out from the ground.", steps);
  const inked = ink(small, ground, mask);
  const trimmed = cut(inked, box(mask));
  const scaled = to28(trimmed);
  const sharpened = sharpen(scaled);
  for (const [name, image] of Object.entries({ ink: inked, trimmed, scaled, sharpened })) {
    steps.push({ name, image });
  }
  return done(steps, grey, centre(sharpened), remarksOn(mask, grey, small));
}

const nothing = (remark, steps) => ({ pixels: null, steps, remarks: [remark] });

function done(steps, grey, image, remarks) {
  const all = steps.length ? steps : [{ name: "grey", image: grey, light: true }];
  const pixels = Uint8Array.from(image.values);
  return { pixels, steps: [...all, { name: "28 × 28", image }], remarks };
}

// 784 pixels, left and right exchanged.
export function mirrored(pixels) {
  return pixels.map((_, i) => pixels[i - (i % 28) + 27 - (i % 28)]);
}
