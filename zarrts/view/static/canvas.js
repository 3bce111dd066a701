// Strips below each other on a canvas: classes, predictions, mistakes, windows, probabilities.
"use strict";

const COLOURS = ["#3b82c4", "#d9822b", "#4c9f70", "#a25ac4", "#c4473b", "#8a8f2a", "#3aa6a6",
  "#c45a94"];
const GREY = "#8a8f96", WRONG = "#d0342c", RIGHT = "#4c9f70";
const ROW = 20, FONT = "11px system-ui, sans-serif";

function colourOf(code) {
  return code >= 0 ? COLOURS[code % COLOURS.length] : GREY;
}

function ink() {
  return getComputedStyle(document.body).color;
}

// Returns a context in CSS pixels, of an emptied canvas of some height.
function prepared(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.parentElement.clientWidth
    - parseFloat(getComputedStyle(document.body).paddingLeft)
    - parseFloat(getComputedStyle(document.body).paddingRight);
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  return [context, width];
}

// Returns a text that fits into a width, cut with an ellipsis if need be.
function fitted(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let n = text.length;
  while (n > 1 && context.measureText(text.slice(0, n) + "…").width > width) n -= 1;
  return text.slice(0, n) + "…";
}

// Draws runs {starts, stops, codes} from `left` to `right`; `paint` gives [colour, opacity, text].
function drawRuns(context, runs, view, box, paint) {
  const scale = (box.right - box.left) / (view.stop - view.start);
  for (let i = 0; i < runs.starts.length; i++) {
    const painted = paint(runs.codes[i]);
    if (!painted) continue;
    const [colour, opacity, text] = painted;
    const from = Math.max(box.left, box.left + (runs.starts[i] - view.start) * scale);
    const to = Math.min(box.right, box.left + (runs.stops[i] - view.start) * scale);
    context.globalAlpha = opacity;
    context.fillStyle = colour;
    context.fillRect(from, box.top, Math.max(to - from, 0.6), box.height);
    context.globalAlpha = 1;
    if (text && to - from > context.measureText(text).width + 6) {
      context.fillStyle = opacity > 0.6 ? "#fff" : ink();
      context.textAlign = "center";
      context.fillText(text, (from + to) / 2, box.top + box.height / 2 + 0.5);
    }
  }
}

function drawName(context, text, box) {
  context.fillStyle = ink();
  context.textAlign = "right";
  context.fillText(fitted(context, text, box.left - 8), box.left - 6, box.top + box.height / 2);
}

// Draws the rows above the signals; rows are {name, draw(context, box)}.
function drawRows(canvas, rows, left, right) {
  const [context, width] = prepared(canvas, rows.length * ROW + (rows.length ? 4 : 0));
  rows.forEach((row, i) => {
    const box = { left, right: width - right, top: i * ROW + 2, height: ROW - 4 };
    drawName(context, row.name, box);
    row.draw(context, box);
  });
}

function drawWindows(context, windows, view, box) {
  const scale = (box.right - box.left) / (view.stop - view.start);
  if (windows.covered) {
    drawRuns(context, windows.covered, view, box, (code) => (code < 0 ? null
      : [ink(), 0.25, `${windows.n.toLocaleString("en")} windows`]));
    return;
  }
  context.strokeStyle = ink();
  context.lineWidth = 1;
  windows.starts.forEach((start, i) => {
    const from = box.left + (start - view.start) * scale;
    const to = box.left + (windows.stops[i] - view.start) * scale;
    const shift = (i % 3) * (box.height / 3);  // neighbours that overlap lie below each other
    context.beginPath();
    context.moveTo(Math.max(box.left, from), box.top + shift + 2);
    context.lineTo(Math.min(box.right, to), box.top + shift + 2);
    context.stroke();
    for (const at of [from, to]) {
      if (at >= box.left && at <= box.right) {
        context.fillStyle = ink();
        context.fillRect(at - 0.5, box.top + shift, 1, 4);
      }
    }
  });
}

// Draws what the network gave for each class, from 0 below to 1 on top.
function drawProbabilities(canvas, found, view, left, right) {
  if (!found || found.starts.length === 0) {
    prepared(canvas, 0);
    return;
  }
  const height = 96, [context, width] = prepared(canvas, height);
  const box = { left, right: width - right, top: 6, height: height - 12 };
  const scale = (box.right - box.left) / (view.stop - view.start);
  const x = (step) => Math.min(box.right, Math.max(box.left, box.left + (step - view.start) * scale));
  const y = (p) => box.top + (1 - p) * box.height;
  context.fillStyle = ink();
  context.textAlign = "right";
  for (const p of [0, 0.5, 1]) {
    context.fillText(`${p * 100} %`, left - 6, y(p));
    context.globalAlpha = 0.2;
    context.fillRect(box.left, y(p), box.right - box.left, 1);
    context.globalAlpha = 1;
  }
  const n = found.values[0].length;
  for (let code = 0; code < n; code++) {
    context.strokeStyle = colourOf(code);
    context.lineWidth = 1.6;
    context.beginPath();
    found.starts.forEach((start, i) => {
      const next = i + 1 < found.starts.length ? found.starts[i + 1] : Infinity;
      if (found.values[i][code] === null) return;
      const isTouching = i > 0 && found.stops[i - 1] >= start && found.values[i - 1][code] !== null;
      const at = y(found.values[i][code]);
      if (isTouching) context.lineTo(x(start), at);
      else context.moveTo(x(start), at);
      context.lineTo(x(Math.min(found.stops[i], next)), at);
    });
    context.stroke();
  }
}
