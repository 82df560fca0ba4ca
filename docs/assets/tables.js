// Long tables can be searched and sorted; on a phone the rows of wide ones become cards (site.css).
const LONG = 12
const WIDE = 4
const BREAKS = /(?<=[_./,=\-])(?=[^\s])/

// "30.25 / 30.249" is 30.25, "47.9 (48.8)" is 47.9; a cell without a number comes last.
function sortKey(cell) {
  const text = cell.textContent.trim()
  const number = text.match(/^[-+]?\d[\d,]*\.?\d*/)
  return number ? parseFloat(number[0].replaceAll(",", "")) : text
}

function compare(one, other) {
  if (one === "" || other === "") return (one === "") - (other === "")
  if (typeof one === "number" && typeof other === "number") return one - other
  return String(one).localeCompare(String(other), "en", { numeric: true })
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells]
  headings.forEach((heading, column) => {
    const button = document.createElement("button")
    button.type = "button"
    button.append(...heading.childNodes)
    heading.append(button)
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending"
      headings.forEach((other) => other.removeAttribute("aria-sort"))
      heading.setAttribute("aria-sort", up ? "ascending" : "descending")
      const body = table.tBodies[0]
      const rows = [...body.rows].map((row) => [sortKey(row.cells[column]), row])
      const filled = rows.filter(([key]) => key !== "")
      filled.sort(([one], [other]) => (up ? compare(one, other) : compare(other, one)))
      const empty = rows.filter(([key]) => key === "")
      body.append(...[...filled, ...empty].map(([, row]) => row))
    })
  })
}

function makeSearchable(table) {
  const field = document.createElement("input")
  field.type = "search"
  field.className = "table-filter"
  field.placeholder = `Search these ${table.tBodies[0].rows.length} rows`
  field.setAttribute("aria-label", field.placeholder)
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/)
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase()
      row.hidden = !words.every((word) => text.includes(word))
    }
  })
  table.before(field)
}

function nameCells(table) {
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim())
  for (const row of table.tBodies[0].rows) {
    for (const [column, cell] of [...row.cells].entries()) cell.dataset.column = names[column] ?? ""
  }
  // Not as a class: Material's styles are for tables without one.
  if (names.length >= WIDE || (names.length === 3 && isCutOff(table))) table.dataset.wide = ""
}

function isCutOff(table) {
  const { scrollWidth, clientWidth } = table.parentElement
  return scrollWidth > clientWidth
}

// Names break behind their signs; only where that is not enough, anywhere.
function breakNames(table) {
  if (!isCutOff(table)) return
  for (const name of table.querySelectorAll("td code, td a:not(:has(code))")) {
    for (const node of [...name.childNodes].filter((one) => one.nodeType === Node.TEXT_NODE)) {
      const parts = node.data.split(BREAKS).flatMap((part) => [part, document.createElement("wbr")])
      node.replaceWith(...parts.slice(0, -1))
    }
  }
  if (isCutOff(table)) table.dataset.tight = "cells"
  if (isCutOff(table)) table.dataset.tight = "anywhere"
}

for (const table of document.querySelectorAll(".md-content table")) {
  if (!table.tHead || !table.tBodies.length) continue
  nameCells(table)
  breakNames(table)
  const rows = [...table.tBodies[0].rows]
  // Where a row leaves its first cell to the one above, it means nothing without that.
  if (rows.length < LONG || rows.some((row) => !row.cells[0].textContent.trim())) continue
  makeSortable(table)
  makeSearchable(table)
}
