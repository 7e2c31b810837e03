// A click on a column's head sorts its table, numbers from the largest on, words from A on; another turns it round.
// A cell that reads otherwise than it sorts has the value in data-sort.
"use strict";
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const sorting = [...body.rows].filter(row => !row.classList.contains("stays"));
  heads.forEach((head, column) => {
    const given = sorting.some(row => row.cells[column].dataset.sort !== undefined);
    const words = !given && (column === 0 || head.classList.contains("left"));
    const key = row => {
      const cell = row.cells[column], text = cell.textContent.trim().replaceAll(",", "").replace("\u2212", "-");
      if (words) return text;
      const found = (given ? cell.dataset.sort ?? "" : text).match(/^[^\d]*?([-+]?\d[\d.]*(e[-+]?\d+)?)/)?.[1];
      return found === undefined ? null : parseFloat(found);
    };
    const sort = () => {
      const first = words ? "ascending" : "descending", other = words ? "descending" : "ascending";
      const way = head.getAttribute("aria-sort") === first ? other : first;
      const keys = new Map(sorting.map(row => [row, key(row)]));
      const sorted = [...sorting].sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        if (x === null || y === null) return (x === null) - (y === null);
        return (way === "ascending" ? 1 : -1) * (words ? x.localeCompare(y, undefined, {numeric: true}) : x - y);
      });
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", way);
      body.prepend(...sorted);
    };
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.addEventListener("click", sort);
    head.append(button);
    head.scope = "col";
  });
}
