
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
  const picture = page.pictures ? make("span", { class: "picture" }, later(query.number)) : make("span");
  const numbers = make("span", { class: "numbers quiet" }, make("span", {}, `AP ${percent(query.after)}`));
  if (page.reranked) {
    const change = gain(query);
    const kind = change > 0 ? "gain" : change < 0 ? "loss" : "";
    numbers.append(make("span", { class: kind }, `${change >= 0 ? "+" : "−"}${percent(Math.abs(change))}`));
  }
  const name = page.names ? page.names[query.number] : `query ${query.number}`;
  return make("li", {}, picture, make("div", {}, make("bdi", { title: name }, name), bar(query), numbers));
}

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

// Tables sort by the column whose heading is pressed.

function sortable(table) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.firstChild.addEventListener("click", () => {
      const way = heading.getAttribute("aria-sort") === "descending" ? 1 : -1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
      const value = (row) => Number(row.cells[column].textContent.replaceAll(",", ""));
      body.append(...[...body.rows].sort((a, b) => way * (value(a) - value(b))));
    });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
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
