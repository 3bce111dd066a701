// Asks this machine's server for signals, labels and predictions of the part that is seen.
"use strict";

const $ = (id) => document.getElementById(id);
const MIN_STEPS = 20, SHOWN_CHANNELS = 32, RIGHT_EDGE = 30;
const state = { store: null, it: null, view: { start: 0, stop: 1 }, labels: null, whole: null,
  signals: null, gain: 1, ranges: [], chosen: null, place: -1, plot: null, asked: 0, focus: null };

async function ask(name, given = {}) {
  const answer = await fetch(`api/${name}?${new URLSearchParams(given)}`);
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

function say(text, isBad = false) {
  $("status").textContent = text;
  $("status").className = isBad ? "bad" : "";
}

function guard(work) {
  return (...given) => Promise.resolve(work(...given)).catch((error) => {
    document.body.dataset.state = "failed";
    say(error.message, true);
  });
}

// Words ------------------------------------------------------------------------------------

function clock(seconds, digits = 0) {
  const whole = Math.floor(Number(seconds.toFixed(digits)));
  const part = digits ? (seconds - whole).toFixed(digits).slice(1) : "";
  const two = (n) => String(n).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}${part}`;
}

function shown(step, span = state.view.stop - state.view.start) {
  const { unit, scale } = state.it;
  if (unit === "s") {
    const seconds = span * scale;
    return clock(step * scale, seconds < 2 ? 3 : seconds < 20 ? 1 : 0);
  }
  const value = step * scale;
  return value.toLocaleString("en", { maximumFractionDigits: unit === "sample" ? 2 : 0 });
}

function stepOf(text) {
  const { unit, scale } = state.it;
  const parts = text.trim().split(":").map(Number);
  if (!text.trim() || parts.some(Number.isNaN) || parts.length > (unit === "s" ? 3 : 1)) return null;
  return Math.round(parts.reduce((sum, part) => sum * 60 + part, 0) / scale);
}

function gutter() {
  return document.body.clientWidth < 600 ? 82 : 132;
}

// Choosing ---------------------------------------------------------------------------------

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
}

function recordingsOf(subject) {
  return state.store.subjects[subject].recordings;
}

function listRecordings(subject) {
  fill($("recording"), recordingsOf(subject).map(([number, source]) => [number, source]));
  $("recording-label").hidden = recordingsOf(subject).length < 2;
}

function subjectOf(number) {
  return state.store.subjects.findIndex((it) => it.recordings.some(([n]) => n === number));
}

async function open(number, view = null) {
  document.body.dataset.state = "loading";
  const it = await (await ask("recording", { recording: number })).json();
  const isNew = !state.it || state.it.channels.join("\n") !== it.channels.join("\n");
  Object.assign(state, { it, labels: null, signals: null, whole: null });
  const subject = subjectOf(number);
  if (String(subject) !== $("subject").value || !$("recording").options.length) {
    $("subject").value = String(subject);
  }
  listRecordings(subject);
  $("recording").value = String(number);
  if (isNew || !state.chosen) listChannels();
  listKinds();
  listClasses();
  makePlot();
  if (it.hidden.length) {
    say(`Labels that have several values at once are not drawn: ${it.hidden.join(", ")}`);
  } else say("");
  show(view || { start: 0, stop: it.n_steps });
  const width = Math.round(document.body.clientWidth);
  const range = { recording: number, start: 0, stop: it.n_steps, width };
  const whole = await (await ask("labels", range)).json();
  if (state.it === it) {
    state.whole = whole;
    drawOverview();
  }
}

function listChannels() {
  const names = [...state.it.channels, ...state.it.numbers];
  const n = state.it.channels.length, extra = names.length - n;
  state.chosen = names.map((_, i) => i)
    .filter((i) => i >= n || i < Math.max(1, SHOWN_CHANNELS - extra));
  $("choices").replaceChildren(...names.map((name, i) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = state.chosen.includes(i);
    box.addEventListener("change", () => {
      state.chosen = [...$("choices").querySelectorAll("input")].map((it, j) => [it.checked, j])
        .filter(([isOn]) => isOn).map(([, j]) => j);
      makePlot();
      show(state.view);
    });
    label.append(box, name);
    return label;
  }));
}

function listKinds() {
  const kinds = state.store.said ? [["wrong", "a mistake"], ["uncertain", "the least certain"]] : [];
  const classes = state.it.tracks.length ? state.it.tracks[0].classes : [];
  const before = $("kind").value;
  fill($("kind"), [...kinds, ...classes.map((name, i) => [`class ${i}`, `class ${name}`]),
    ...(classes.length ? [["class -1", "no label"]] : [])]);
  if ([...$("kind").options].some((it) => it.value === before)) $("kind").value = before;
  $("kind").closest(".bar").hidden = $("kind").options.length === 0;
}

function listClasses() {
  const names = state.it.tracks.length ? state.it.tracks[0].classes
    : state.store.said ? state.store.said.classes : [];
  $("legend").replaceChildren(...names.slice(0, COLOURS.length * 2).map((name, code) => {
    const one = document.createElement("span"), patch = document.createElement("canvas");
    patch.width = patch.height = 12;
    const context = patch.getContext("2d");
    context.fillStyle = colourOf(code);
    context.fillRect(0, 0, 12, 12);
    one.append(patch, name);
    return one;
  }));
}

// Moving -----------------------------------------------------------------------------------

function show(view) {
  const { n_steps } = state.it;
  const size = Math.min(n_steps, Math.max(MIN_STEPS, Math.round(view.stop - view.start)));
  const start = Math.max(0, Math.min(n_steps - size, Math.round(view.start)));
  state.view = { start, stop: start + size };
  $("range").textContent = state.it.unit === "s"
    ? `${shown(start)} to ${shown(start + size)}`
    : `${state.it.unit}s ${shown(start)} to ${shown(start + size)}`;
  if (document.activeElement !== $("at")) $("at").value = shown(start);
  document.body.dataset.state = "loading";
  document.body.dataset.start = start;
  document.body.dataset.stop = start + size;
  if (state.signals) draw();
  cancelAnimationFrame(state.frame);
  state.frame = requestAnimationFrame(() => guard(load)());
}

function zoom(factor, at = 0.5) {
  const { start, stop } = state.view, size = (stop - start) * factor;
  const middle = start + (stop - start) * at;
  show({ start: middle - size * at, stop: middle + size * (1 - at) });
}

function scroll(part) {
  const by = (state.view.stop - state.view.start) * part;
  show({ start: state.view.start + by, stop: state.view.stop + by });
}

async function jump(back) {
  const [kind, code] = $("kind").value.split(" ");
  // Of a stretch that was jumped to, its start; else where the view begins.
  const inView = state.focus && state.focus.recording === state.it.number
    && state.focus.start >= state.view.start && state.focus.start < state.view.stop;
  const at = inView ? state.focus.start : back ? state.view.start : state.view.start - 1;
  const given = { kind, recording: state.it.number, at, place: state.place, back: back ? 1 : 0 };
  const found = await (await ask("jump", code === undefined ? given : { ...given, code })).json();
  if (!found) {
    $("found").textContent = back ? "none before" : "no more";
    return;
  }
  state.focus = found;
  state.place = found.place;
  const isSame = found.recording === state.it.number;
  const size = found.stop - found.start, middle = (found.start + found.stop) / 2;
  const seen = isSame ? state.view.stop - state.view.start : Infinity;
  const wanted = Math.min(Math.max(3 * size, MIN_STEPS), Math.max(seen, 1.2 * size));
  const view = { start: middle - wanted / 2, stop: middle + wanted / 2 };
  if (isSame) show(view);
  else await open(found.recording, view);
  const who = state.it.subject;
  $("found").textContent = `${who} at ${shown(found.start)}: ${found.text}`;
}

// Loading ----------------------------------------------------------------------------------

async function load() {
  const mine = ++state.asked, began = performance.now(), { it, view } = state;
  const plotWidth = Math.max(200, document.body.clientWidth - gutter());
  const range = { recording: it.number, start: view.start, stop: view.stop,
    width: Math.round(plotWidth) };
  const asked = [ask("signals", { ...range, channels: state.chosen.join(",") || "0" }),
    ask("labels", range)];
  const answer = await asked[0];
  const about = JSON.parse(answer.headers.get("X-About"));
  const values = new Float32Array(await answer.arrayBuffer());
  if (mine !== state.asked) {
    asked[1].catch(() => {});
    return;
  }
  state.signals = { ...about, values };
  document.body.dataset.signalsMs = Math.round(performance.now() - began);
  draw();
  const labels = await (await asked[1]).json();
  if (mine !== state.asked) return;
  state.labels = labels;
  draw();
  document.body.dataset.state = about.ready < 1 ? "reading" : "ready";
  if (about.ready < 1) {
    say(`Reading the recording once, for the whole view: ${Math.floor(about.ready * 100)} %`);
    setTimeout(() => { if (mine === state.asked) guard(load)(); }, 400);
  } else if ($("status").textContent.startsWith("Reading")) say("");
}

// Drawing ----------------------------------------------------------------------------------

function names() {
  const all = [...state.it.channels, ...state.it.numbers];
  return state.chosen.map((i) => all[i]);
}

function makePlot() {
  if (state.plot) state.plot.destroy();
  const n = Math.max(1, state.chosen.length), lane = Math.max(15, Math.min(64, 520 / n));
  const label = ink(), line = "#8883", font = FONT;
  const times = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120,
    300, 600, 900, 1800, 3600, 7200, 14400, 28800];
  const { unit, scale } = state.it;
  const axis = { stroke: label, grid: { stroke: line, width: 1 }, ticks: { stroke: line }, font,
    size: 34, space: unit === "s" ? 80 : 60,
    label: { s: "time (h:mm:ss)", step: "time steps", sample: "samples" }[unit], labelSize: 16,
    labelFont: font, values: (_, splits) => splits.map((it) => shown(it / scale)) };
  if (unit === "s") axis.incrs = times;
  state.plot = new uPlot({
    width: document.body.clientWidth - 2 * parseFloat(getComputedStyle(document.body).paddingLeft),
    height: Math.round(n * lane + 60),
    padding: [4, RIGHT_EDGE, 0, 0],
    legend: { show: false },
    cursor: { points: { show: false }, y: false, drag: { x: true, y: false, setScale: false } },
    scales: {
      x: { time: false, range: () => [state.view.start * scale, state.view.stop * scale] },
      y: { range: () => [-n + 0.5, 0.5] },
    },
    axes: [axis, { stroke: label, size: gutter(), font, grid: { show: false },
      ticks: { show: false }, splits: () => state.chosen.map((_, i) => -i), gap: 6,
      values: (plot) => names().map((it, i) => fitted(
        Object.assign(plot.ctx, { font: `${11 * uPlot.pxRatio}px system-ui` }), it,
        (gutter() - 12) * uPlot.pxRatio) + (lane >= 34 && state.ranges[i] || "")),
      filter: (_, splits) => splits }],
    series: [{}, ...state.chosen.map((i) => ({
      stroke: COLOURS[i % COLOURS.length], width: 1, points: { show: false }, spanGaps: false,
    }))],
    hooks: {
      drawClear: [drawBands],
      setSelect: [(plot) => {
        const { left, width } = plot.select;
        if (width < 4) return;
        const from = plot.posToVal(left, "x") / scale, to = plot.posToVal(left + width, "x") / scale;
        plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        show({ start: from, stop: to });
      }],
    },
  }, [[0], ...state.chosen.map(() => [null])], $("plot"));
  state.plot.over.addEventListener("dblclick", () => show({ start: 0, stop: state.it.n_steps }));
  state.plot.over.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      scroll(Math.sign(event.deltaX || event.deltaY) * 0.15);
    } else zoom(event.deltaY > 0 ? 1.3 : 1 / 1.3, event.offsetX / state.plot.over.clientWidth);
  }, { passive: false });
}

function drawBands(plot) {
  const runs = state.labels && state.labels.tracks[0], { left, top, width, height } = plot.bbox;
  if (runs) {
    drawRuns(plot.ctx, runs, state.view, { left, right: left + width, top, height },
      (code) => (code >= 0 ? [colourOf(code), 0.13, ""] : [GREY, 0.28, ""]));
  }
  const { sample_steps } = state.it, { start, stop } = state.view;
  if (sample_steps && (stop - start) / sample_steps <= width / (12 * uPlot.pxRatio)) {
    plot.ctx.fillStyle = ink();
    plot.ctx.globalAlpha = 0.35;
    for (let at = Math.ceil(start / sample_steps) * sample_steps; at < stop; at += sample_steps) {
      plot.ctx.fillRect(left + ((at - start) / (stop - start)) * width, top, 1, height);
    }
    plot.ctx.globalAlpha = 1;
  }
}

// Returns middle and half height of each lane: by mean and deviation of the recording, or, of
// what has none, by what is seen.
function laneOf(i, low, high) {
  const mean = state.it.mean[i], std = state.it.std[i];
  if (i < state.it.channels.length && mean !== null && std > 0) return [mean, (5 * std) / state.gain];
  let least = Infinity, most = -Infinity;
  low.forEach((value) => { if (value < least && Number.isFinite(value)) least = value; });
  high.forEach((value) => { if (value > most && Number.isFinite(value)) most = value; });
  if (!(most > least)) return [Number.isFinite(least) ? least : 0, 1];
  return [(least + most) / 2, (most - least) / 1.8];
}

function about(value) {
  const digits = document.body.clientWidth < 600 ? 2 : 3;
  return value.toLocaleString("en", { maximumSignificantDigits: digits });
}

function columns() {
  const { values, n_bins: n, channels, start, bin_steps } = state.signals, { scale } = state.it;
  const isExact = bin_steps === 1, x = [];
  for (let j = 0; j < n; j++) {
    x.push((start + j * bin_steps) * scale);
    if (!isExact) x.push((start + (j + 0.5) * bin_steps) * scale);
  }
  const series = channels.map((channel, lane) => {
    const low = values.subarray(lane * n, (lane + 1) * n);
    const high = values.subarray((channels.length + lane) * n, (channels.length + lane + 1) * n);
    const [middle, half] = laneOf(channel, low, high), y = [];
    state.ranges[lane] = `\n${about(middle - half)} to ${about(middle + half)}`;
    const at = (value) => (Number.isFinite(value) ? -lane + (value - middle) / (2 * half) : null);
    for (let j = 0; j < n; j++) {
      y.push(at(low[j]));
      if (!isExact) y.push(at(high[j]));
    }
    return y;
  });
  return [x, ...series];
}

function draw() {
  const left = gutter(), { view, labels, it } = state;
  if (state.signals && state.signals.channels.length === state.chosen.length) {
    state.plot.setData(columns(), true);
    state.plot.redraw(false, true);  // the names of the lanes say their ranges
  }
  const rows = [];
  if (labels) {
    labels.tracks.forEach((runs, i) => {
      const classes = it.tracks[i].classes;
      rows.push({ name: runs.name || "label", draw: (context, box) => drawRuns(context, runs, view,
        box, (code) => (code >= 0 ? [colourOf(code), 0.9, classes[code]] : [GREY, 0.3, "no label"])) });
    });
    if (labels.predicted && it.has_said) {
      const classes = state.store.said.classes;
      rows.push({ name: "predicted", draw: (context, box) => drawRuns(context, labels.predicted,
        view, box, (code) => (code >= 0 ? [colourOf(code), 0.9, classes[code]] : null)) });
      rows.push({ name: "mistakes", draw: (context, box) => drawRuns(context, labels.wrong, view,
        box, (code) => (code === 1 ? [WRONG, 0.95, ""] : null)) });
    }
    if (labels.windows) {
      rows.push({ name: "windows",
        draw: (context, box) => drawWindows(context, labels.windows, view, box) });
    }
  }
  drawRows($("strips"), rows, left, RIGHT_EDGE);
  drawProbabilities($("probabilities"), labels && labels.probabilities, view, left, RIGHT_EDGE);
  drawOverview();
}

function drawOverview() {
  const { it, whole, view } = state, [context, width] = prepared($("overview"), 34);
  const box = { left: gutter(), right: width - RIGHT_EDGE, top: 4, height: 18 };
  const all = { start: 0, stop: it.n_steps };
  drawName(context, "whole", box);
  context.strokeStyle = GREY;
  context.strokeRect(box.left, box.top, box.right - box.left, box.height);
  if (whole && whole.tracks.length) {
    drawRuns(context, whole.tracks[0], all, box,
      (code) => (code >= 0 ? [colourOf(code), 0.75, ""] : [GREY, 0.25, ""]));
  }
  if (whole && whole.wrong) {
    drawRuns(context, whole.wrong, all, { ...box, top: box.top + box.height + 2, height: 5 },
      (code) => (code === 1 ? [WRONG, 1, ""] : null));
  }
  const scale = (box.right - box.left) / it.n_steps;
  context.strokeStyle = ink();
  context.lineWidth = 2;
  context.strokeRect(box.left + view.start * scale, 2,
    Math.max(3, (view.stop - view.start) * scale), box.height + 11);
}

// Listening --------------------------------------------------------------------------------

function listen() {
  $("subject").addEventListener("change", guard(() => {
    state.focus = null;
    state.place = -1;
    listRecordings(Number($("subject").value));
    return open(recordingsOf(Number($("subject").value))[0][0]);
  }));
  $("recording").addEventListener("change", guard(() => open(Number($("recording").value))));
  $("kind").addEventListener("change", () => { state.focus = null; state.place = -1; });
  $("back").addEventListener("click", () => scroll(-0.5));
  $("forward").addEventListener("click", () => scroll(0.5));
  $("in").addEventListener("click", () => zoom(0.5));
  $("out").addEventListener("click", () => zoom(2));
  $("whole").addEventListener("click", () => show({ start: 0, stop: state.it.n_steps }));
  $("previous").addEventListener("click", guard(() => jump(true)));
  $("next").addEventListener("click", guard(() => jump(false)));
  $("at").addEventListener("change", () => {
    const step = stepOf($("at").value);
    if (step === null) say(`"${$("at").value}" is not a place; write one as the axis does.`, true);
    else {
      say("");
      show({ start: step, stop: step + state.view.stop - state.view.start });
    }
  });
  const louder = (factor) => () => { state.gain *= factor; draw(); };
  $("louder").addEventListener("click", louder(1.5));
  $("softer").addEventListener("click", louder(1 / 1.5));
  const move = (event) => {
    const left = gutter(), width = $("overview").clientWidth - left - RIGHT_EDGE;
    const middle = ((event.offsetX - left) / width) * state.it.n_steps;
    const half = (state.view.stop - state.view.start) / 2;
    show({ start: middle - half, stop: middle + half });
  };
  $("overview").addEventListener("pointerdown", (event) => {
    $("overview").setPointerCapture(event.pointerId);
    move(event);
  });
  $("overview").addEventListener("pointermove", (event) => { if (event.buttons) move(event); });
  const keys = { ArrowLeft: () => scroll(-0.5), ArrowRight: () => scroll(0.5),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
    Home: () => show({ start: 0, stop: state.it.n_steps }),
    n: guard(() => jump(false)), p: guard(() => jump(true)) };
  document.addEventListener("keydown", (event) => {
    const isTyping = ["INPUT", "SELECT"].includes(event.target.tagName);
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  const again = () => { if (state.it) { makePlot(); show(state.view); } };
  window.addEventListener("resize", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}

guard(async () => {
  listen();
  state.store = await (await ask("store")).json();
  document.title = `${state.store.name}: zarrts view`;
  $("name").textContent = state.store.name;
  fill($("subject"), state.store.subjects.map((it, i) => [i, it.name]));
  await open(state.store.subjects[0].recordings[0][0]);
})();
