"use strict";
// A click on the head of a column sorts its table: numbers by value, other cells by text; a second click turns the order round.
document.addEventListener("click", (event) => {
  const head = event.target.closest("article thead th");
  if (head === null) return;
  const body = head.closest("table").tBodies[0], column = head.cellIndex;
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const text = (row) => (row.cells[column]?.textContent ?? "").trim();
  const compare = (a, b) => {
    const [x, y] = [a, b].map((row) => Number.parseFloat(text(row).replaceAll(",", "")));
    return Number.isNaN(x) || Number.isNaN(y) ? text(a).localeCompare(text(b)) : x - y;
  };
  body.append(...[...body.rows].sort((a, b) => (ascending ? compare(a, b) : compare(b, a))));
});
