// Arrays from Python, in one small file: a line of JSON, then the numbers, as arrays.py
// writes them. Weights come as 16-bit floats, half as heavy; networks compute in 32 bits.

const KINDS = { u1: Uint8Array, f2: Uint16Array, f4: Float32Array };

// The bytes of a file of this site; unpacked, if it is packed.
async function bytesOf(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: the server says ${answer.status}`);
  const bytes = await answer.arrayBuffer();
  const isPacked = new Uint8Array(bytes, 0, 2).join() === "31,139"; // some servers unpack it
  if (!isPacked) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// {name: {data, shape}, about: anything else that Python wrote}
export async function readArrays(address) {
  const bytes = await bytesOf(address);
  const end = new Uint8Array(bytes).indexOf(10);
  const { arrays, ...about } = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 0, end)));
  const found = { about };
  for (const { name, type, shape, at } of arrays) {
    const size = shape.reduce((a, b) => a * b, 1);
    const data = new KINDS[type](bytes, end + 1 + at, size);
    found[name] = { shape, data: type === "f2" ? widened(data) : data };
  }
  return found;
}

// Floats of 16 bits, given as whole numbers, in 32 bits: sign, 5 bits of exponent, 10 of fraction.
export function widened(halves) {
  return Float32Array.from(halves, (bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}
