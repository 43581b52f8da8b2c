// The pad: strokes of finger, mouse or arrow keys, or a photo; what is on it goes to `onChange` as
// RGBA pixels, or null if there is nothing.

const PEN = 7; // pixels of the pad, which is 320 wide
const MOST_PIXELS = 16e6; // of a photo: a larger one is made smaller first, for phones' memory
const MOST = 100e6; // bytes of a photo's file
const GREY = "#8a8f94"; // fills what a line closes

const find = (id) => document.getElementById(id);

export function startDrawing({ onChange }) {
  const pad = find("pad");
  const context = pad.getContext("2d", { willReadFrequently: true });
  let strokes = []; // lists of points
  let photo = null; // a canvas
  let planned = false;
  let wait = 0; // milliseconds

  // The pen is drawn at once; what follows takes longer, and may have a quarter of the time.
  function changed() {
    paint();
    if (planned) return;
    planned = true;
    setTimeout(() => requestAnimationFrame(tell), wait);
  }

  function tell() {
    planned = false;
    const start = performance.now();
    paint({ filled: true });
    onChange(content());
    wait = 3 * (performance.now() - start);
  }

  function content() {
    if (photo) return photo.getContext("2d").getImageData(0, 0, photo.width, photo.height);
    return strokes.length ? context.getImageData(0, 0, pad.width, pad.height) : null;
  }

  function paint({ filled = false } = {}) {
    context.fillStyle = "#fff";
    context.fillRect(0, 0, pad.width, pad.height);
    if (photo) return paintPhoto();
    Object.assign(context, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    context.strokeStyle = "#111";
    for (const stroke of strokes) {
      context.beginPath();
      context.moveTo(...stroke[0]);
      for (const point of stroke) context.lineTo(...point);
      context.stroke();
    }
    if (filled && find("fill").checked) fillInside(context, pad.width, pad.height);
  }

  function paintPhoto() {
    context.imageSmoothingEnabled = photo.width > 28; // pixels of the set stay pixels
    const scale = Math.min(pad.width / photo.width, pad.height / photo.height);
    const [width, height] = [photo.width * scale, photo.height * scale];
    context.drawImage(photo, (pad.width - width) / 2, (pad.height - height) / 2, width, height);
  }

  // An empty pad, or a picture on it; nobody is told.
  function show(picture = null) {
    [strokes, photo] = [[], picture];
    paint();
  }

  async function usePhoto(file) {
    if (!file) return;
    try {
      photo = await readPhoto(file);
      strokes = [];
      changed();
    } catch (error) {
      find("verdict").textContent = error.message;
    }
  }

  listenToPen(
    pad,
    () => strokes,
    () => (photo = null),
    changed,
  );
  find("clear").addEventListener("click", () => {
    show();
    onChange(null);
  });
  find("undo").addEventListener("click", () => {
    strokes.pop();
    changed();
  });
  find("fill").addEventListener("change", () => strokes.length && changed());
  find("photo").addEventListener("change", ({ target }) => {
    usePhoto(target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
  listenToDrops(pad, usePhoto);
  paint();
  return { show };
}

// Pointer and arrow keys make points.
function listenToPen(pad, strokes, onStart, changed) {
  let drawing = false;
  let key = null; // the pen of the keyboard: a place, and whether it is down
  const place = ({ clientX, clientY }) => {
    const box = pad.getBoundingClientRect();
    const scale = pad.width / box.width;
    return [(clientX - box.left) * scale, (clientY - box.top) * scale];
  };
  const begin = (point) => {
    onStart();
    strokes().push([point, point]);
    changed();
  };
  const move = (point) => {
    strokes().at(-1)?.push(point);
    changed();
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pad.setPointerCapture(event.pointerId);
    drawing = true;
    begin(place(event));
  });
  pad.addEventListener("pointermove", (event) => drawing && move(place(event)));
  for (const end of ["pointerup", "pointercancel"]) {
    pad.addEventListener(end, () => (drawing = false));
  }
  const ways = { ArrowLeft: [-6, 0], ArrowRight: [6, 0], ArrowUp: [0, -6], ArrowDown: [0, 6] };
  pad.addEventListener("keydown", (event) => {
    if (event.key !== " " && !ways[event.key]) return;
    event.preventDefault();
    key ??= { at: [pad.width / 2, pad.height / 2], down: false };
    if (event.key === " ") {
      key.down = !key.down;
      if (key.down) begin(key.at);
      return;
    }
    key.at = key.at.map((value, i) =>
      Math.min(pad.width - 6, Math.max(6, value + ways[event.key][i])),
    );
    if (key.down) move(key.at);
  });
}

function listenToDrops(pad, usePhoto) {
  const over = (event) => {
    event.preventDefault();
    pad.classList.toggle("over", event.type === "dragover");
  };
  pad.addEventListener("dragover", over);
  pad.addEventListener("dragleave", over);
  pad.addEventListener("drop", (event) => {
    over(event);
    usePhoto(event.dataTransfer.files[0]);
  });
}

// A file as a canvas, upright.
export async function readPhoto(file) {
  if (file.size > MOST)
    throw new Error(`${file.name} is larger than 100 MB: choose a smaller one.`);
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no picture that this browser can read: JPEG and PNG it can.`);
  });
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (picture.width * picture.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return canvas;
}

// What lines close becomes grey: water comes from the border, and what stays dry is inside.
function fillInside(context, width, height) {
  const image = context.getImageData(0, 0, width, height);
  const words = new Uint32Array(image.data.buffer);
  const wet = new Uint8Array(width * height);
  const todo = [];
  const flow = (at) => {
    if (wet[at] || image.data[4 * at] < 200) return;
    wet[at] = 1;
    todo.push(at);
  };
  for (let i = 0; i < width; i++) [i, (height - 1) * width + i].forEach(flow);
  for (let i = 0; i < height; i++) [i * width, i * width + width - 1].forEach(flow);
  while (todo.length) {
    const at = todo.pop();
    if (at % width) flow(at - 1);
    if ((at + 1) % width) flow(at + 1);
    if (at >= width) flow(at - width);
    if (at < width * (height - 1)) flow(at + width);
  }
  context.fillStyle = GREY;
  context.fillRect(0, 0, 1, 1);
  const [inside] = new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer);
  wet.forEach((isWet, at) => {
    if (!isWet && image.data[4 * at] >= 200) words[at] = inside;
  });
  context.putImageData(image, 0, 0);
}
