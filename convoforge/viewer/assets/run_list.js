"use strict";
// the list of runs: while one of them goes on, it is read again. Rows stay where they are, and what has the focus keeps it
const SECONDS = 3;
const list = document.getElementById("runs");

async function reread() {
  const answer = document.hidden ? null : await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  if (answer?.ok) {
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("runs");
    if (!fresh) return location.reload(); // the login has ended
    take(fresh);
  }
  wait();
}

function take(fresh) {
  const rows = [...fresh.rows];
  const ids = new Set(rows.map((row) => row.id));
  for (const row of [...list.rows]) if (!ids.has(row.id)) row.remove();
  let next = list.rows[0] ?? null;
  for (const row of rows) {
    const known = document.getElementById(row.id);
    if (known !== next || !known) list.insertBefore(known ?? row, next);
    else next = known.nextElementSibling;
    if (known) [...row.cells].forEach((cell, index) => update(known.cells[index], cell));
  }
  list.toggleAttribute("data-goes-on", "goesOn" in fresh.dataset);
}

function update(cell, fresh) {
  if (cell.innerHTML !== fresh.innerHTML) cell.innerHTML = fresh.innerHTML;
}

function wait() {
  if ("goesOn" in list.dataset) setTimeout(reread, SECONDS * 1000);
}

if (list) wait();
