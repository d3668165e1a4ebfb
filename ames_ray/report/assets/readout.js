
// Charts tell in words what the pointer stands on; arrow keys go on from there.

const shown = (value) => String(Number(value.toPrecision(4)));

// A chart with one horizontal axis: its places from left to right.
function places({ stops }) {
  const nearest = (x) => stops.reduce((best, [at], n) => (Math.abs(at - x) < Math.abs(stops[best][0] - x) ? n : best), 0);
  return {
    at: ([x]) => [nearest(x)],
    step: ([n], [right]) => [Math.max(0, Math.min(n + right, stops.length - 1))],
    mark: ([n], svg) => {
      const { height } = svg.viewBox.baseVal;
      return draw("line", { class: "cursor", x1: stops[n][0], x2: stops[n][0], y1: 26, y2: height - 44 });
    },
    words: ([n]) => stops[n][1],
  };
}

// A map: its cells by column and row.
function cells({ box: [left, top, width, height], names, x, y, cells: values }) {
  const [w, h] = [width / x.length, height / y.length];
  const inside = (n, count) => Math.max(0, Math.min(n, count - 1));
  const clip = ([column, row]) => [inside(column, x.length), inside(row, y.length)];
  return {
    at: ([px, py]) => clip([Math.floor((px - left) / w), Math.floor((top + height - py) / h)]),
    step: ([column, row], [right, up]) => clip([column + right, row + up]),
    mark: ([column, row]) =>
      draw("rect", { class: "cursor", x: left + column * w, y: top + height - (row + 1) * h, width: w, height: h }),
    words: ([column, row]) => {
      const value = values[row][column];
      const said = value === null ? "undefined" : `${(value / 100).toFixed(2)} %`;
      return `${names[0]} ${shown(x[column])}, ${names[1]} ${shown(y[row])}: ${said}`;
    },
  };
}

function readable(svg, data) {
  const kind = data.stops ? places(data) : cells(data);
  const output = svg.parentNode.querySelector(".readout");
  let now = null;
  const tell = (where) => {
    now = where;
    svg.querySelector(".cursor")?.remove();
    svg.append(kind.mark(where, svg));
    output.textContent = kind.words(where);
  };
  const follow = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    tell(kind.at([point.x, point.y]));
  };
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerdown", follow);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!move || (data.stops && !move[0])) return;
    event.preventDefault();
    tell(now ? kind.step(now, move) : kind.at([0, Infinity]));
  });
}

const readouts = read("readouts");
document.querySelectorAll("svg.readable").forEach((svg, number) => readable(svg, readouts[number]));
