// Small pictures on canvases, in the colours of the page, light or dark.

// A colour of the style sheet, such as "--accent".
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Red, green and blue of a colour, 0 to 255.
const known = new Map();
export function channels(text) {
  if (!known.has(text)) {
    const context = document.createElement("canvas").getContext("2d");
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    known.set(text, [...context.getImageData(0, 0, 1, 1).data].slice(0, 3));
  }
  return known.get(text);
}

// The canvas as sharp as the screen; sizes below are in CSS pixels.
export function cleared(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = Math.max(1, window.devicePixelRatio);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}

// Curves: series are {points: [[x, y], ...], colour, wide}; ticks of y are {value, text}; a title
// at the top, and a figure in the corner below.
export function curves(canvas, series, { low, high, ticks, right = 1, title = "", corner = "" }) {
  const { context, width, height } = cleared(canvas);
  const left = ticks.length ? 40 : 4;
  const [top, bottom] = [title ? 20 : 6, height - 6];
  const x = (value) => left + (value / right) * (width - left - 4);
  const y = (value) => bottom - ((clamp(value, low, high) - low) / (high - low)) * (bottom - top);
  context.font = `12px ${colour("--prose")}`;
  context.textBaseline = "middle";
  context.fillStyle = colour("--quiet");
  context.strokeStyle = colour("--line");
  for (const { value, text } of ticks) {
    context.fillText(text, 0, y(value));
    line(context, [
      [left, y(value)],
      [width, y(value)],
    ]);
  }
  if (title) context.fillText(title, left, 9);
  for (const { points, colour: ink, wide = 1.5 } of series) {
    context.strokeStyle = ink;
    context.lineWidth = wide;
    line(
      context,
      points.map(([a, b]) => [x(a), y(b)]),
    );
  }
  context.fillStyle = colour("--ink");
  context.textAlign = "right";
  context.fillText(corner, width - 5, height - 11);
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function line(context, points) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.stroke();
}

// Numbers as a picture of `side` x `side` pixels: 0 as paper, +-strongest in the two colours.
export function diverging(values, side, strongest, paint) {
  const { paper, plus, minus } = paint;
  const image = new ImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    const share = Math.min(1, Math.abs(values(i)) / strongest) ** 0.7; // weak ones are seen, too
    const ink = values(i) > 0 ? plus : minus;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = paper[c] + share * (ink[c] - paper[c]);
    image.data[4 * i + 3] = 255;
  }
  return image;
}

// On white paper, where a picture lies below; and in the colours of the page.
export const ON_WHITE = { paper: [255, 255, 255], plus: [190, 84, 8], minus: [8, 98, 125] };
export function paints() {
  const [paper, plus, minus] = ["--paper", "--warm", "--accent"].map((name) =>
    channels(colour(name)),
  );
  return { paper, plus, minus };
}

// The weights of the first units as tiles: what each looks for.
const tile = document.createElement("canvas");
tile.width = tile.height = 28;
export function weightTiles(canvas, weights, units) {
  const [columns, rows] = [8, Math.min(8, Math.ceil(units / 8))];
  canvas.style.aspectRatio = `${columns} / ${rows}`;
  const { context, width } = cleared(canvas);
  const shown = Math.min(units, columns * rows);
  const size = width / columns;
  const paint = paints();
  context.imageSmoothingEnabled = false;
  for (let unit = 0; unit < shown; unit++) {
    let strongest = 1e-6;
    for (let i = unit; i < weights.length; i += units) {
      strongest = Math.max(strongest, Math.abs(weights[i]));
    }
    const image = diverging((i) => weights[i * units + unit], 28, strongest, paint);
    tile.getContext("2d").putImageData(image, 0, 0);
    const [x, y] = [(unit % columns) * size, Math.floor(unit / columns) * size];
    context.drawImage(tile, x + 1, y + 1, size - 2, size - 2);
  }
}

// Grey bytes (0 white, 255 black) on a canvas of their own size.
export function grey(canvas, pixels, { width, height }) {
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  pixels.forEach((value, i) => image.data.set([255 - value, 255 - value, 255 - value, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}
