// Draws media/icon.png: a line of code, a cursor, and what comes next in grey. Pixels by hand; zlib is all it takes.
import { writeFileSync } from "node:fs";
import { crc32, deflateSync } from "node:zlib";

const SIZE = 128;
const SAMPLES = 4;

const BACKGROUND = [27, 33, 48];
const CODE = [126, 208, 186];
const PLAIN = [216, 222, 233];
const GHOST = [94, 105, 126];
const CURSOR = [255, 203, 107];

// x, y, width, height, corner radius, colour; later ones lie on top.
const SHAPES = [
  [0, 0, 128, 128, 26, BACKGROUND],
  [22, 30, 34, 10, 5, CODE],
  [62, 30, 44, 10, 5, PLAIN],
  [34, 52, 24, 10, 5, PLAIN],
  [62, 45, 5, 24, 2.5, CURSOR],
  [72, 52, 34, 10, 5, GHOST],
  [34, 74, 52, 10, 5, GHOST],
  [22, 94, 26, 10, 5, GHOST],
];

function inside([left, top, width, height, radius], x, y) {
  const dx = Math.max(left + radius - x, x - (left + width - radius), 0);
  const dy = Math.max(top + radius - y, y - (top + height - radius), 0);
  return x >= left && x < left + width && y >= top && y < top + height && dx * dx + dy * dy <= radius * radius;
}

function pixel(column, row) {
  const sum = [0, 0, 0, 0];
  for (let sample = 0; sample < SAMPLES * SAMPLES; sample += 1) {
    const x = column + ((sample % SAMPLES) + 0.5) / SAMPLES;
    const y = row + (Math.floor(sample / SAMPLES) + 0.5) / SAMPLES;
    const shape = SHAPES.findLast((each) => inside(each, x, y));
    if (shape) {
      shape[5].forEach((value, channel) => (sum[channel] += value));
      sum[3] += 255;
    }
  }
  const covered = sum[3] / 255;
  return [...sum.slice(0, 3).map((value) => (covered ? Math.round(value / covered) : 0)), Math.round(sum[3] / SAMPLES ** 2)];
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type), data]);
  const length = Buffer.alloc(4);
  const check = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
}

const header = Buffer.alloc(13);
header.writeUInt32BE(SIZE, 0);
header.writeUInt32BE(SIZE, 4);
header.set([8, 6, 0, 0, 0], 8); // 8 bits a channel, RGBA

const rows = [];
for (let row = 0; row < SIZE; row += 1) {
  rows.push(0); // no filter
  for (let column = 0; column < SIZE; column += 1) {
    rows.push(...pixel(column, row));
  }
}

const png = Buffer.concat([
  Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
  chunk("IHDR", header),
  chunk("IDAT", deflateSync(Buffer.from(rows), { level: 9 })),
  chunk("IEND", Buffer.alloc(0)),
]);
writeFileSync(new URL("../media/icon.png", import.meta.url), png);
console.log(`media/icon.png: ${png.length} bytes`);
