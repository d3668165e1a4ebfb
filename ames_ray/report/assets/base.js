"use strict";

// Data islands are parsed when they are needed: a page may hold 10,000 pictures.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const byId = (id) => document.getElementById(id);
const page = read("page");
const SVG = "http://www.w3.org/2000/svg";
const basename = (name) => name.slice(name.lastIndexOf("/") + 1) || name;

// Small helpers. Text only ever enters the page as text.

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const shelves = new Map();
function picture(number) {
  const shelf = Math.floor(number / page.shelf);
  if (!shelves.has(shelf)) shelves.set(shelf, read(`pictures-${shelf}`));
  const data = shelves.get(shelf)[number % page.shelf];
  return data === null ? null : `data:image/webp;base64,${data}`;
}

// Pictures come when they are near the window.

const lazy = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      lazy.unobserve(target);
      show(target, Number(target.dataset.picture));
    }
  },
  { rootMargin: "500px" },
);

function show(image, number) {
  const data = picture(number);
  if (data) image.src = data;
  else image.replaceWith(make("span", { class: "gone quiet" }, "the photo is not there any more"));
}

function later(number) {
  const image = make("img", { alt: "", "data-picture": number, decoding: "async" });
  lazy.observe(image);
  return image;
}

// A row of choices, of which one is taken.
function choices(place, names, taken, take) {
  for (const name of names) {
    const input = make("input", { type: "radio", name: place, value: name });
    input.checked = name === taken;
    input.addEventListener("change", () => take(name));
    byId(place).append(make("label", {}, input, name));
  }
}

// Calls when the end of a list is near the window.
function atTheEnd(id, act) {
  const watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && act(), {
    rootMargin: "1200px",
  });
  watcher.observe(byId(id));
}
