
const CHUNK = 120;
const percent = (value) => (100 * value).toFixed(2);
const gain = (query) => query.after - query.before;

const ORDERS = {
  "Worst first": (a, b) => a.after - b.after,
  "Gain": (a, b) => gain(b) - gain(a),
  "Loss": (a, b) => gain(a) - gain(b),
  "List": (a, b) => a.number - b.number,
};
if (!page.reranked) delete ORDERS.Gain;
if (!page.reranked) delete ORDERS.Loss;

const state = { setup: page.start, order: "Worst first", list: [], rendered: 0 };

function fill() {
  const { before, after } = page.setups[state.setup];
  state.list = before
    .map((value, number) => ({ number, before: value, after: after[number] }))
    .filter((query) => query.before !== null && query.after !== null)
    .sort((a, b) => ORDERS[state.order](a, b) || a.number - b.number);
  state.rendered = 0;
  byId("verdicts").hidden = !Object.keys(page.results[state.setup] ?? {}).length;
  byId("queries").replaceChildren();
  const left = before.length - state.list.length;
  byId("count").textContent =
    `${state.list.length.toLocaleString("en")} queries` + (left ? `, ${left} without positives left out` : "");
  more();
}

function more() {
  const stop = Math.min(state.rendered + CHUNK, state.list.length);
  byId("queries").append(...state.list.slice(state.rendered, stop).map(line));
  state.rendered = stop;
}

function line(query) {
  const numbers = make("span", { class: "numbers quiet" }, make("span", {}, `AP ${percent(query.after)}`));
  if (page.reranked) {
    const change = gain(query);
    const kind = change > 0 ? "gain" : change < 0 ? "loss" : "";
    numbers.append(make("span", { class: kind }, `${change >= 0 ? "+" : "−"}${percent(Math.abs(change))}`));
  }
  const name = nameOf(query.number);
  const facts = make("div", {}, make("bdi", { title: name }, basename(name)), bar(query), numbers);
  const photo = page.pictures[query.number];
  if (photo === undefined) return make("li", {}, facts);
  const own = make("div", { class: "query" }, make("span", { class: "picture" }, later(photo)), facts);
  const lists = page.results[state.setup][query.number];
  if (!lists) return make("li", { class: "shown" }, own);
  return make("li", { class: "shown wide" }, own, make("div", { class: "rankings" }, ...lists.map((list, n) => row(query, list, n))));
}

const nameOf = (number) => (page.names ? page.names[number] : `query ${number}`);

// The first results of one ranking; one of them is in the tab order, arrow keys go to the others.

const MARKS = { positive: "✓", negative: "✗", junk: "–" };
const SAID = { positive: "shows the same", negative: "does not show the same", junk: "not counted" };

function row(query, list, after) {
  const words = page.reranked ? ["Before", "Re-ranked"][after] : "First results";
  const buttons = list.map(([photo, verdict, rank, before], at) => {
    const moved = after && rank ? movement(before - rank) : "";
    const said = `${rank ? `rank ${rank}` : "junk"}: ${page.images[photo]}, ${SAID[verdict]}${moved && `, was ${before}`}`;
    const button = make("button", { type: "button", class: "found", "data-verdict": verdict, "aria-label": said, title: said,
      tabindex: at ? -1 : 0 },
      make("span", { class: "picture" }, later(photo)),
      make("span", { class: "place quiet" }, `${rank ?? ""} ${MARKS[verdict]} ${moved}`.trim()));
    button.addEventListener("click", () => look(query, list, at, button));
    return button;
  });
  const strip = make("div", { class: "found-strip", role: "group", "aria-label": `${words}: ${nameOf(query.number)}` }, ...buttons);
  strip.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const from = buttons.indexOf(document.activeElement);
    const target = buttons[from + step];
    if (!target) return;
    event.preventDefault();
    buttons[from].tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  });
  return make("div", { class: "ranking" }, make("span", { class: "quiet" }, words), strip);
}

function movement(places) {
  if (places === 0) return "=";
  return places > 0 ? `↑${places}` : `↓${-places}`;
}

// A result beside its query

const dialog = byId("look");
const looked = { query: null, list: [], at: 0, button: null };

function look(query, list, at, button) {
  Object.assign(looked, { query, list, at, button });
  const [photo, verdict, rank, before] = list[at];
  byId("look-title").firstChild.textContent = page.images[photo];
  const places = [rank ? `rank ${rank}` : "no rank", before && before !== rank ? `before re-ranking ${before}` : ""];
  byId("look-facts").textContent = [...places, SAID[verdict]].filter(Boolean).join(" · ");
  byId("previous").disabled = at === 0;
  byId("next").disabled = at === list.length - 1;
  byId("pair").replaceChildren(
    side(page.pictures[query.number], `query ${nameOf(query.number)}`),
    side(photo, page.images[photo], verdict));
  if (!dialog.open) dialog.showModal();
}

function side(photo, name, verdict) {
  const image = make("img", { alt: name });
  const figure = make("figure", { "data-verdict": verdict }, image, make("figcaption", {}, make("bdi", {}, name)));
  show(image, photo);
  return figure;
}

function goOn(step) {
  const at = looked.at + step;
  if (!looked.list[at]) return;
  const button = looked.button.parentNode.children[at];
  look(looked.query, looked.list, at, button);
}

byId("previous").addEventListener("click", () => goOn(-1));
byId("next").addEventListener("click", () => goOn(1));
byId("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("keydown", (event) => goOn({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? 0));
// The browser gives the focus back to where it was; the result that was looked at last is the better place.
dialog.addEventListener("close", () => looked.button.focus());

function bar(query) {
  const [from, to] = [query.before, query.after].map((value) => 4 + 292 * value);
  const kind = gain(query) > 0 ? "up" : gain(query) < 0 ? "down" : "same";
  const said = page.reranked ? `${percent(query.before)} before, ${percent(query.after)} after re-ranking` : percent(query.after);
  const chart = draw("svg", { class: "bar", viewBox: "0 0 300 14", role: "img", "aria-label": said },
    draw("title", {}, said),
    draw("line", { class: "scale", x1: 4, x2: 296, y1: 7, y2: 7 }),
    draw("line", { class: `change ${kind}`, x1: from, x2: to, y1: 7, y2: 7 }));
  if (page.reranked) chart.append(draw("circle", { class: "from", cx: from, cy: 7, r: 3.5 }));
  chart.append(draw("circle", { class: kind, cx: to, cy: 7, r: 4.5 }));
  return chart;
}

choices("setup", Object.keys(page.setups), state.setup, (name) => {
  state.setup = name;
  fill();
});
byId("setup").hidden = Object.keys(page.setups).length < 2;
choices("order", Object.keys(ORDERS), state.order, (name) => {
  state.order = name;
  fill();
});
atTheEnd("more", more);
fill();
