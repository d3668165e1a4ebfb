const state = { about: null, query: null, results: [], picture: "", asked: null, shown: 0 };

const similarity = (hit) => (hit.similarity === null ? "?" : hit.similarity.toFixed(3));

function score(hit) {
  if (hit.score === null) return `similarity ${similarity(hit)}`;
  return state.about.unit ? `${hit.score} ${state.about.unit}` : hit.score.toFixed(3);
}

function movement({ moved }) {
  if (moved > 0) return { text: `↑ ${moved}`, said: `up ${moved} places`, kind: "up" };
  if (moved < 0) return { text: `↓ ${-moved}`, said: `down ${-moved} places`, kind: "down" };
  return { text: "=", said: "same place as before", kind: "same" };
}

// Asking

async function search(file) {
  state.asked?.abort();
  const asked = new AbortController();
  state.asked = asked;
  take(file);
  try {
    const form = new FormData();
    form.append("image", file);
    const response = await fetch("search?why=true", { method: "POST", body: form, signal: asked.signal });
    const found = await response.json();
    await started;
    if (response.ok) show(found);
    else fail(`This photo was not searched: ${found.detail}.`);
  } catch (error) {
    if (asked.signal.aborted) return;
    fail("The service does not answer. Is it still running?");
  }
  document.body.setAttribute("aria-busy", "false");
}

function take(file) {
  URL.revokeObjectURL(state.picture);
  state.picture = URL.createObjectURL(file);
  const image = byId("query-picture");
  image.src = state.picture;
  image.alt = `query photo ${file.name}`;
  image.hidden = false;
  byId("invitation").hidden = true;
  byId("drop").classList.add("filled");
  byId("query-name").textContent = file.name;
  byId("failed").hidden = true;
  byId("count").textContent = "searching …";
  document.body.setAttribute("aria-busy", "true");
}

function fail(text) {
  state.results = [];
  byId("results").replaceChildren();
  byId("count").textContent = "";
  byId("failed").textContent = text;
  byId("failed").hidden = false;
}

function show(found) {
  state.query = found.query;
  state.results = found.results;
  byId("results").replaceChildren(...found.results.map(card));
  const { width, height, descriptors } = found.query;
  byId("query-name").textContent = `${width} × ${height} pixels, ${descriptors} local descriptors`;
  byId("count").textContent = `${found.results.length} results, re-ranked by ${state.about.ranked_by}`;
}

// Results

function card(hit, position) {
  const way = movement(hit);
  const button = make("button",
    { type: "button", class: "card", title: hit.image, tabindex: position ? -1 : 0,
      "aria-label": `${hit.rank}. ${hit.image}, ${score(hit)}, ${way.said}` },
    make("span", { class: "picture" }, thumbnail(hit)),
    make("span", { class: "line" },
      make("span", { class: "rank" }, hit.rank),
      make("span", { class: "score" }, score(hit)),
      make("span", { class: `moved ${way.kind}`, title: `was ${hit.before}, is ${hit.rank}` }, way.text)),
    make("bdi", { class: "name quiet" }, basename(hit.image)));
  button.addEventListener("click", () => explain(position));
  return make("li", {}, button);
}

function thumbnail(hit) {
  const image = make("img", { alt: "", src: hit.thumbnail, loading: "lazy", decoding: "async" });
  const gone = make("span", { class: "gone quiet" }, "the photo is not there any more");
  image.addEventListener("error", () => image.replaceWith(gone));
  return image;
}

function focusCard(position) {
  const cards = byId("results").querySelectorAll(".card");
  const target = cards[Math.max(0, Math.min(position, cards.length - 1))];
  if (!target) return;
  for (const other of cards) other.tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
}

byId("results").addEventListener("keydown", (event) => {
  const columns = getComputedStyle(byId("results")).gridTemplateColumns.split(" ").length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns,
    Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  focusCard([...byId("results").querySelectorAll(".card")].indexOf(document.activeElement) + step);
});

// Why: both pictures side by side, lines between the places that agree

const dialog = byId("why");

function explain(position) {
  state.shown = position;
  const hit = state.results[position];
  byId("why-title").firstChild.textContent = hit.image;
  byId("why-facts").textContent =
    `rank ${hit.rank}, before re-ranking ${hit.before} · ${score(hit)} · similarity ${similarity(hit)}`;
  byId("previous").disabled = position === 0;
  byId("next").disabled = position === state.results.length - 1;
  byId("why-legend").textContent = legend(hit.why);
  drawPair(hit);
  if (!dialog.open) dialog.showModal();
}

function legend(why) {
  if (!why) return "This image was not compared: it lies behind those that were re-ranked.";
  if (!why.matches.length) return `Nothing agrees: no ${state.about.reason}.`;
  const most = why.matches.length < why.count ? `the surest ${why.matches.length} of ${why.count}` : why.count;
  return `Lines join ${state.about.reason}: ${most}. Equal colours are equal places.`;
}

// Both at equal height, or one above the other where the window is narrow.
function layout(sizes) {
  const wide = window.innerWidth > 760;
  const parts = sizes.map(([w, h]) => (wide ? [(1000 * w) / h, 1000] : [1000, (1000 * h) / w]));
  const second = wide ? [parts[0][0] + 24, 0] : [0, parts[0][1] + 24];
  const boxes = [[0, 0, ...parts[0]], [...second, ...parts[1]]];
  return { boxes, view: [second[0] + parts[1][0], second[1] + parts[1][1]] };
}

function drawPair(hit) {
  const size = hit.why && hit.why.width ? [hit.why.width, hit.why.height] : [4, 3];
  const sizes = [[state.query.width, state.query.height], size];
  const { boxes, view } = layout(sizes);
  const pair = byId("pair");
  pair.setAttribute("viewBox", `0 0 ${view[0]} ${view[1]}`);
  pair.setAttribute("aria-label", `the photo and ${hit.image}, ${hit.why ? hit.why.count : 0} places agree`);
  pair.replaceChildren(...[state.picture, hit.thumbnail].map((href, at) => half(href, boxes[at])));
  const unit = Math.max(...view) / 1000;
  for (const match of (hit.why?.matches ?? []).slice().reverse()) pair.append(join(match, boxes, sizes, unit));
}

function half(href, [x, y, width, height]) {
  return draw("g", {}, draw("rect", { class: "well", x, y, width, height, rx: 6 }),
    draw("image", { x, y, width, height, href, preserveAspectRatio: "none" }));
}

function join(match, boxes, sizes, unit) {
  const parts = [match.query, match.image].map(([x, y], at) => [(x + 0.5) / sizes[at][0], (y + 0.5) / sizes[at][1]]);
  const [a, b] = parts.map(([x, y], at) => [boxes[at][0] + x * boxes[at][2], boxes[at][1] + y * boxes[at][3]]);
  const ends = { x1: a[0], y1: a[1], x2: b[0], y2: b[1] };
  const fill = `hsl(${Math.round(300 - 300 * parts[0][0] + 40 * parts[0][1])} 85% 60%)`;
  return draw("g", { class: "match" }, draw("line", { ...ends, class: "touch" }), draw("line", { ...ends, class: "halo" }),
    draw("line", { ...ends, stroke: fill }), ...[a, b].map(([cx, cy]) => draw("circle", { cx, cy, r: 5.5 * unit, fill })));
}

byId("previous").addEventListener("click", () => explain(state.shown - 1));
byId("next").addEventListener("click", () => explain(state.shown + 1));
byId("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("close", () => focusCard(state.shown));
dialog.addEventListener("keydown", (event) => {
  const target = state.shown + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? NaN);
  if (target >= 0 && target < state.results.length) explain(target);
});
window.addEventListener("resize", () => dialog.open && drawPair(state.results[state.shown]));

// Choosing, dropping, pasting

byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) search(event.target.files[0]);
  event.target.value = "";
});
byId("form").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
document.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  if (event.dataTransfer.files.length) search(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) search(event.clipboardData.files[0]);
});

// Start

const started = fetch("health").then((response) => response.json()).then((about) => {
  state.about = about;
  byId("summary").textContent =
    `${about.images.toLocaleString("en")} images · described by ${about.backbone} · re-ranked by ${about.ranked_by}`;
  byId("limits").textContent =
    `Up to ${about.max_upload_mb} MB and ${Math.floor(about.max_pixels / 1e6)} megapixels.`;
}).catch(() => fail("The service does not answer. Is it still running?"));
