// Sorts a table by a column and shows only the paths that match. The page is complete without.
(() => {
  'use strict';

  const value = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return column === 0 ? cell.textContent : undefined;
  };

  const compare = (left, right) => {
    if (left === undefined || right === undefined) {
      return (left === undefined) - (right === undefined);
    }
    return typeof left === 'string' ? left.localeCompare(right) : left - right;
  };

  // Within each promise; what could not be measured stays below.
  const sort = (table, column, descending) => {
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.matches('.promise, .gone'));
      rows.sort((left, right) => {
        const a = value(left, column);
        const b = value(right, column);
        const missing = a === undefined || b === undefined;
        return compare(a, b) * (descending && !missing ? -1 : 1);
      });
      body.append(...rows);
    }
  };

  for (const table of document.querySelectorAll('table.paths')) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener('click', () => {
        const descending = head.getAttribute('aria-sort') === 'ascending';
        for (const other of heads) other.removeAttribute('aria-sort');
        head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
        sort(table, column, descending);
      });
    });
  }

  const filter = document.getElementById('filter');
  filter.parentElement.hidden = false;
  filter.addEventListener('input', () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const table of document.querySelectorAll('table.paths')) {
      let found = false;
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter((row) => !row.matches('.promise'));
        for (const row of rows) {
          row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
        }
        body.hidden = rows.every((row) => row.hidden);
        found ||= !body.hidden;
      }
      table.parentElement.hidden = !found;
    }
  });
})();
