
// Tables sort by the column whose heading is pressed: numbers downwards first, words upwards.

function sortable(table) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const text = (row, column) => row.cells[column].textContent;
  const number = (row, column) => Number(text(row, column).replaceAll(",", "").replace("–", "-Infinity"));
  headings.forEach((heading, column) => {
    heading.firstChild.addEventListener("click", () => {
      const words = [...body.rows].some((row) => Number.isNaN(number(row, column)));
      const first = words ? "ascending" : "descending";
      const other = words ? "descending" : "ascending";
      const now = heading.getAttribute("aria-sort") === first ? other : first;
      headings.forEach((any) => any.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", now);
      const way = now === "ascending" ? 1 : -1;
      const by = words
        ? (a, b) => text(a, column).localeCompare(text(b, column))
        : (a, b) => number(a, column) - number(b, column) || 0;
      body.append(...[...body.rows].sort((a, b) => way * by(a, b)));
    });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
