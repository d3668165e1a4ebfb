const CHUNK = 120;
const [NAME, PICTURE, RANK, BEFORE, SIMILARITY, SCORE, VERDICT] = [0, 1, 2, 3, 4, 5, 6];

const ORDERS = {
  "Re-ranked": { by: (a, b) => a[RANK] - b[RANK], shown: (hit, length) => hit[RANK] <= length },
  Before: { by: (a, b) => a[BEFORE] - b[BEFORE], shown: (hit, length) => hit[BEFORE] <= length },
  Movement: { by: (a, b) => moved(b) - moved(a) || a[RANK] - b[RANK], shown: (hit, length) => hit[RANK] <= length },
  Name: { by: (a, b) => (a[NAME] < b[NAME] ? -1 : 1), shown: (hit, length) => hit[RANK] <= length },
};

const state = { query: 0, order: "Re-ranked", list: [], rendered: 0, current: 0, explained: 0 };

const reasons = new Map();
function why(hit) {
  const query = page.queries[state.query];
  if (!reasons.has(state.query)) reasons.set(state.query, read(`why-${state.query}`));
  const found = reasons.get(state.query)[query.hits.indexOf(hit)];
  return found && { count: found[0], size: [found[1], found[2]], matches: found[3] };
}

const moved = (hit) => hit[BEFORE] - hit[RANK];
const colour = (match) => `hsl(${Math.round(300 - 0.3 * match[0] + 0.04 * match[1])} 85% 60%)`;

function movement(hit) {
  const places = moved(hit);
  if (places > 0) return { text: `↑ ${places}`, said: `up ${places} places`, kind: "up" };
  if (places < 0) return { text: `↓ ${-places}`, said: `down ${-places} places`, kind: "down" };
  return { text: "=", said: "same place as before", kind: "same" };
}

function score(hit) {
  if (hit[SCORE] === null) return `similarity ${hit[SIMILARITY].toFixed(3)}`;
  if (!page.unit) return hit[SCORE].toFixed(3);
  return `${hit[SCORE]} ${page.unit}`;
}

// Queries

function fillQueries() {
  const strip = byId("queries");
  strip.hidden = page.queries.length < 2;
  page.queries.forEach((query, number) => {
    const button = make("button", { type: "button", "aria-label": query.name, title: query.name });
    button.append(query.failed ? "failed" : later(query.picture));
    button.addEventListener("click", () => choose(number));
    strip.append(button);
  });
  strip.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const buttons = [...strip.children];
    const target = buttons[buttons.indexOf(document.activeElement) + step];
    if (step && target) {
      event.preventDefault();
      target.focus();
      target.click();
    }
  });
}

function choose(number) {
  state.query = number;
  const query = page.queries[number];
  [...byId("queries").children].forEach((button, at) => button.setAttribute("aria-current", at === number));
  byId("queries").children[number].scrollIntoView({ block: "nearest", inline: "nearest" });
  const image = byId("query-picture");
  const data = picture(query.picture);
  image.hidden = !data;
  if (data) image.src = data;
  image.alt = `query photo ${query.name}`;
  byId("query-name").textContent = query.name;
  byId("query-facts").textContent = query.size ? `${query.size[0]} × ${query.size[1]} pixels` : "";
  byId("failed").hidden = !query.failed;
  byId("failed").textContent = query.failed ? `This photo could not be used: ${query.failed}.` : "";
  byId("verdicts").hidden = !query.hits.some((hit) => hit[VERDICT]);
  mark(null);
  sort(state.order);
}

// Results

function sort(name) {
  state.order = name;
  const query = page.queries[state.query];
  const { by, shown } = ORDERS[name];
  state.list = query.hits.filter((hit) => shown(hit, query.length)).sort(by);
  state.rendered = 0;
  state.current = 0;
  byId("results").replaceChildren();
  byId("count").textContent = query.failed ? "" : `${state.list.length.toLocaleString("en")} results`;
  more();
}

function more(until = state.rendered + CHUNK) {
  const stop = Math.min(until, state.list.length);
  const cards = [];
  for (; state.rendered < stop; state.rendered += 1) cards.push(card(state.list[state.rendered], state.rendered));
  byId("results").append(...cards);
}

function card(hit, position) {
  const way = movement(hit);
  const place = state.order === "Before" ? hit[BEFORE] : hit[RANK];
  const said = `${place}. ${hit[NAME]}, ${score(hit)}, ${way.said}`;
  const button = make(
    "button",
    { type: "button", class: "card", tabindex: position === state.current ? 0 : -1, "data-verdict": hit[VERDICT],
      "aria-label": hit[VERDICT] ? `${said}, ${hit[VERDICT]}` : said, title: hit[NAME] },
    make("span", { class: "picture" }, later(hit[PICTURE]), draw("svg", { class: "marks", "aria-hidden": "true" })),
    make("span", { class: "line" },
      make("span", { class: "rank" }, place),
      make("span", { class: "score" }, score(hit)),
      make("span", { class: `moved ${way.kind}`, title: `was ${hit[BEFORE]}, is ${hit[RANK]}` }, way.text)),
    make("bdi", { class: "name quiet" }, basename(hit[NAME])),
  );
  button.addEventListener("click", () => explain(position));
  button.addEventListener("pointerenter", () => mark(hit, button));
  button.addEventListener("pointerleave", () => mark(null));
  button.addEventListener("focus", () => {
    tab(position);
    mark(hit, button);
  });
  return make("li", {}, button);
}

const cardAt = (position) => byId("results").children[position]?.firstChild;

function tab(position) {
  cardAt(state.current)?.setAttribute("tabindex", "-1");
  state.current = position;
  cardAt(position)?.setAttribute("tabindex", "0");
}

function focusCard(position) {
  const target = Math.max(0, Math.min(position, state.list.length - 1));
  if (target >= state.rendered) more(target + CHUNK);
  tab(target);
  cardAt(target)?.focus();
}

function inARow() {
  const columns = getComputedStyle(byId("results")).gridTemplateColumns;
  return columns.split(" ").length;
}

byId("results").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: inARow(), ArrowUp: -inARow(),
    Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const target = state.current + step;
  if (Math.abs(step) > 1 && Number.isFinite(step) && (target < 0 || target >= state.list.length)) return;
  focusCard(target);
});

// What agrees, drawn on the query and on the card under the pointer

let marked = null;
function mark(hit, button = null) {
  const queryMarks = byId("query-marks");
  marked?.replaceChildren();
  queryMarks.replaceChildren();
  const query = page.queries[state.query];
  if (query.box) frame(queryMarks, byId("query-picture"), query);
  const found = hit && why(hit);
  if (!found) return;
  marked = button.querySelector(".marks");
  dots(queryMarks, byId("query-picture"), found.matches, 0);
  const image = button.querySelector("img");
  if (image) dots(marked, image, found.matches, 2);
}

// Where the picture lies inside its frame, which it fits without being cut.
function fitted(image) {
  const [width, height] = [image.clientWidth, image.clientHeight];
  const scale = Math.min(width / image.naturalWidth, height / image.naturalHeight) || 0;
  const [w, h] = [image.naturalWidth * scale, image.naturalHeight * scale];
  return { x: (width - w) / 2, y: (height - h) / 2, w, h };
}

function dots(target, image, matches, from) {
  if (!image.naturalWidth) return;
  const at = fitted(image);
  for (const match of [...matches].reverse()) {
    const [x, y] = [at.x + (at.w * match[from]) / 1000, at.y + (at.h * match[from + 1]) / 1000];
    target.append(draw("circle", { cx: x, cy: y, r: 4, fill: colour(match) }));
  }
}

function frame(target, image, query) {
  if (!image.naturalWidth) return;
  const at = fitted(image);
  const [left, top, right, bottom] = query.box.map((value) => value / 1000);
  target.append(draw("rect", { x: at.x + at.w * left, y: at.y + at.h * top,
    width: at.w * (right - left), height: at.h * (bottom - top) }));
}

// Why: both pictures side by side

const dialog = byId("why");

function explain(position) {
  state.explained = position;
  const hit = state.list[position];
  const found = why(hit);
  byId("why-title").firstChild.textContent = hit[NAME];
  byId("why-facts").textContent =
    `rank ${hit[RANK]}, before re-ranking ${hit[BEFORE]} · ${score(hit)} · similarity ${hit[SIMILARITY].toFixed(3)}`;
  byId("previous").disabled = position === 0;
  byId("next").disabled = position === state.list.length - 1;
  const total = found ? found.matches.length : 0;
  byId("amount").hidden = total === 0;
  byId("shown").max = total;
  byId("shown").value = Math.min(total, 30);
  byId("why-legend").textContent = legend(found, total);
  drawPair(hit, found);
  if (!dialog.open) dialog.showModal();
}

function legend(found, total) {
  if (!found) return "This image was not compared: it lies behind those that were re-ranked.";
  if (!total) return `Nothing agrees: no ${page.reason}.`;
  const all = total < found.count ? `the surest ${total} of ${found.count}` : `${total}`;
  return `Lines join ${page.reason}: ${all}. Equal colours are equal places.`;
}

// Sizes of both pictures at equal height, or at equal width where the window is narrow.
function layout(first, second) {
  const side = 1000;
  const gap = 24;
  if (window.innerWidth > 760) {
    const widths = [first, second].map(([w, h]) => (side * w) / h);
    return { boxes: [[0, 0, widths[0], side], [widths[0] + gap, 0, widths[1], side]],
      view: [widths[0] + gap + widths[1], side] };
  }
  const heights = [first, second].map(([w, h]) => (side * h) / w);
  return { boxes: [[0, 0, side, heights[0]], [0, heights[0] + gap, side, heights[1]]],
    view: [side, heights[0] + gap + heights[1]] };
}

const known = (size) => (size && size[0] && size[1] ? size : [4, 3]);

function drawPair(hit, found) {
  const query = page.queries[state.query];
  const { boxes, view } = layout(known(query.size), known(found?.size));
  const pair = byId("pair");
  pair.setAttribute("viewBox", `0 0 ${view[0]} ${view[1]}`);
  pair.setAttribute("aria-label", `${query.name} and ${hit[NAME]}, ${found ? found.count : 0} places agree`);
  pair.replaceChildren(...[query.picture, hit[PICTURE]].map((number, at) => half(number, boxes[at])));
  const count = Number(byId("shown").value);
  byId("shown-count").textContent = count;
  const unit = Math.max(...view) / 1000;
  for (const match of (found?.matches ?? []).slice(0, count).reverse()) pair.append(join(match, boxes, unit));
}

function half(number, [x, y, width, height]) {
  const data = picture(number);
  const well = draw("rect", { class: "well", x, y, width, height, rx: 6 });
  if (!data) return draw("g", {}, well, draw("text", { x: x + width / 2, y: y + height / 2 }, "not there any more"));
  return draw("g", {}, well, draw("image", { x, y, width, height, href: data, preserveAspectRatio: "none" }));
}

function join(match, boxes, unit) {
  const [a, b] = boxes.map(([x, y, w, h], at) => [x + (w * match[2 * at]) / 1000, y + (h * match[2 * at + 1]) / 1000]);
  const ends = { x1: a[0], y1: a[1], x2: b[0], y2: b[1] };
  const fill = colour(match);
  return draw("g", { class: "match" },
    draw("line", { ...ends, class: "touch" }),
    draw("line", { ...ends, class: "halo" }),
    draw("line", { ...ends, stroke: fill }),
    ...[a, b].map(([cx, cy]) => draw("circle", { cx, cy, r: 5.5 * unit, fill })));
}

function redraw() {
  if (!dialog.open) return;
  const hit = state.list[state.explained];
  drawPair(hit, why(hit));
}

byId("previous").addEventListener("click", () => explain(state.explained - 1));
byId("next").addEventListener("click", () => explain(state.explained + 1));
byId("close").addEventListener("click", () => dialog.close());
byId("shown").addEventListener("input", redraw);
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
// The browser gives the focus back to where it was; the result that was looked at last is the better place.
dialog.addEventListener("close", () => focusCard(state.explained));
dialog.addEventListener("keydown", (event) => {
  if (event.target === byId("shown")) return;
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const target = state.explained + step;
  if (step && target >= 0 && target < state.list.length) explain(target);
});
window.addEventListener("resize", redraw);

// Start

choices("order", Object.keys(ORDERS), state.order, sort);
const failures = page.queries.filter((query) => query.failed).length;
byId("summary").textContent = [
  `${page.queries.length.toLocaleString("en")} ${page.queries.length === 1 ? "query" : "queries"}`,
  failures ? `${failures} could not be used` : "",
  `re-ranked by ${page.rankedBy}`,
].filter(Boolean).join(" · ");
byId("legend").textContent = `Point at a result, or press Enter on it, to see what agrees: ${page.reason}.`;
atTheEnd("more", () => more());
byId("query-picture").addEventListener("load", () => mark(null));
fillQueries();
choose(0);
