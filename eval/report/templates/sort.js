// A click on a column's head sorts its table, numbers from the largest on, words from A on; another turns it round.
"use strict";
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const words = column === 0 || head.classList.contains("left");
    const key = row => {
      const text = row.cells[column].textContent.trim().replaceAll(",", "").replace("\u2212", "-");
      const found = words ? text : text.match(/^[^\d]*?([-+]?\d[\d.]*(e[-+]?\d+)?)/)?.[1];
      return words ? text : found === undefined ? null : parseFloat(found);
    };
    const sort = () => {
      const first = words ? "ascending" : "descending", other = words ? "descending" : "ascending";
      const way = head.getAttribute("aria-sort") === first ? other : first;
      const rows = [...body.rows].filter(row => !row.classList.contains("stays"));
      const keys = new Map(rows.map(row => [row, key(row)]));
      rows.sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        if (x === null || y === null) return (x === null) - (y === null);
        return (way === "ascending" ? 1 : -1) * (words ? x.localeCompare(y) : x - y);
      });
      heads.forEach(each => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", way);
      body.prepend(...rows);
    };
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort();
    });
  });
}
