// Values into words and pixels. The kit's scripts are put before each explorer's own by Python: no build step, no imports.
const unpack = (table) => Uint8Array.from(atob(table), (c) => c.charCodeAt(0));
const DIVERGING = unpack(DIVERGING_TABLE); // 255 x RGB, the middle one is zero
const SEQUENTIAL = unpack(SEQUENTIAL_TABLE); // 256 x RGB, the first one is zero
const MINUS = "\u2212", NONE = "\u2013";

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const range = (count) => Array.from({ length: count }, (_, i) => i);
const nearestIndex = (list, value) =>
  list.reduce((best, item, i) => (Math.abs(item - value) < Math.abs(list[best] - value) ? i : best), 0);

// ---- words
// three significant digits, a true minus, never "-0"
const number = (value, plus = false) => {
  if (!Number.isFinite(value)) return NONE;
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 100 ? size.toFixed(0) : size >= 10 ? size.toFixed(1) : size.toFixed(2);
  if (Number(text) === 0) return text;
  return (value < 0 ? MINUS : plus ? "+" : "") + text;
};
// a value of a map in three digits of the map's own scale: maps may be tiny
const precise = (value, plus = false, top = Math.abs(value)) => {
  if (!Number.isFinite(value) || value === 0) return value === 0 ? "0" : NONE;
  const digits = clamp(2 - Math.floor(Math.log10(top)), 0, 6), size = Math.abs(value);
  const text = top < 1e-3 ? size.toExponential(1).replace("-", MINUS) : size.toFixed(digits);
  return (Number(text) === 0 ? "" : value < 0 ? MINUS : plus ? "+" : "") + text;
};
const hundredths = (value) => value.toFixed(2).replace("-", MINUS);
const duration = (seconds) => (seconds < 0.9995 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`);
const percent = (p) => (!Number.isFinite(p) ? NONE : p >= 0.9995 ? "100%" : p < 0.0005 ? "0%" : (100 * p).toFixed(p >= 0.0995 ? 0 : 1) + "%");
const listed = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);

// ---- numbers that came as bytes
const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const fromHalf = (bits) => {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
};
// float32 from a kernel, float16 times a scale in an exported page
const floats = ({ data, dtype, scale = 1 }) => {
  const copy = bytes(data).slice().buffer;
  return dtype === "f2" ? Float32Array.from(new Uint16Array(copy), (bits) => scale * fromHalf(bits)) : new Float32Array(copy);
};

// ---- pixels
const opaque = (table) => Uint32Array.from({ length: table.length / 3 }, (_, i) =>
  new Uint32Array(new Uint8Array([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255]).buffer)[0]);
const DIVERGING_PIXELS = opaque(DIVERGING), SEQUENTIAL_PIXELS = opaque(SEQUENTIAL);
const sized = (canvas, width, height) => {
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  return canvas.getContext("2d");
};

// a map in colours: diverging about zero where `signed`, else from zero up; `top` is the value of the last colour,
// NaN stays transparent; `under` (grey levels 0 to 1, or null) is the picture below: signed colours, white at zero,
// are darkened by it; the others, dark at zero, are mixed with it
const paintMap = (canvas, values, width, height, top, signed, under = null) => {
  const context = sized(canvas, width, height), image = context.createImageData(width, height), out = image.data;
  const table = signed ? DIVERGING : SEQUENTIAL, pixels = signed ? DIVERGING_PIXELS : SEQUENTIAL_PIXELS;
  const all = new Uint32Array(out.buffer), steps = signed ? 127 : 255, low = signed ? -127 : 0, zero = signed ? 127 : 0;
  const factor = top > 0 ? steps / top : 0;
  for (let i = 0, o = 0; i < values.length; i++, o += 4) {
    if (values[i] !== values[i]) continue;
    const at = zero + clamp(Math.round(values[i] * factor), low, steps);
    if (!under) { all[i] = pixels[at]; continue; }
    const keep = signed ? 0.3 + 0.7 * under[i] : 0.6, add = signed ? 0 : 102 * under[i];
    for (let k = 0; k < 3; k++) out[o + k] = table[3 * at + k] * keep + add;
    out[o + 3] = 255;
  }
  context.putImageData(image, 0, 0);
};
const paintRGB = (canvas, rgb, width, height) => {
  const context = sized(canvas, width, height), image = context.createImageData(width, height), out = image.data;
  for (let i = 0, o = 0; o < out.length; i += 3, o += 4) { out[o] = rgb[i]; out[o + 1] = rgb[i + 1]; out[o + 2] = rgb[i + 2]; out[o + 3] = 255; }
  context.putImageData(image, 0, 0);
};
const greys = (rgb) => Float32Array.from({ length: rgb.length / 3 }, (_, i) =>
  (0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2]) / 255);
const gradient = (table) => "linear-gradient(90deg," + range(17).map((i) => {
  const c = 3 * Math.round(((table.length / 3 - 1) * i) / 16);
  return `rgb(${table[c]},${table[c + 1]},${table[c + 2]})`;
}).join(",") + ")";

// ---- a map in words, for those who do not see it
const peakOf = (values) => values.reduce((best, v, i) => (v > values[best] ? i : best), 0);
// share of what is positive that lies in the mask; null where nothing is positive
const shareInside = (values, mask) => {
  let all = 0, inside = 0;
  for (let i = 0; i < values.length; i++) if (values[i] > 0) { all += values[i]; if (mask[i]) inside += values[i]; }
  return all > 0 ? inside / all : null;
};
const mapInWords = (title, values, width, mask) => {
  const at = peakOf(values), share = mask ? shareInside(values, mask) : null;
  const flat = values.every((v) => v === values[0]);
  const peak = flat ? "the same everywhere" : `largest at x ${at % width}, y ${Math.floor(at / width)}` + (mask ? `, ${mask[at] ? "inside" : "outside"} the truth` : "");
  return `${title}: ${peak}${share === null ? "" : `; ${percent(share)} of its positive part lies inside the truth`}`;
};

// ---- lines over a picture
// the border of a mask between pixels
const outline = (mask, width, height) => {
  const lines = [], inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x - 1, y)) lines.push(`M${x} ${y}v1`);
      if (!inside(x + 1, y)) lines.push(`M${x + 1} ${y}v1`);
      if (!inside(x, y - 1)) lines.push(`M${x} ${y}h1`);
      if (!inside(x, y + 1)) lines.push(`M${x} ${y + 1}h1`);
    }
  }
  return lines.join("");
};
const ring = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
// marks that tell the lines of a curve apart where colours cannot
const shape = (points) => (x, y, r) => `M${points.map(([a, b]) => `${(x + a * r).toFixed(1)} ${(y + b * r).toFixed(1)}`).join("L")}Z`;
const LINES = [
  ["#0072b2", ring], ["#d55e00", shape([[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]])],
  ["#009e73", shape([[0, -1.2], [1.1, 0.9], [-1.1, 0.9]])], ["#b0508a", shape([[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]])],
  ["#56a0d0", shape([[0, 1.2], [1.1, -0.9], [-1.1, -0.9]])], ["#b07d10", shape([[-1.3, -0.4], [1.3, -0.4], [1.3, 0.4], [-1.3, 0.4]])],
  ["#7a4fc9", shape([[-0.4, -1.3], [0.4, -1.3], [0.4, 1.3], [-0.4, 1.3]])], ["#6b7280", shape([[-1.2, -1.2], [1.2, 1.2], [1.2, -1.2], [-1.2, 1.2]])],
].map(([color, mark]) => ({ color: `color-mix(in srgb, ${color} 80%, var(--lk-text))`, mark }));
