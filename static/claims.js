// Filters the claims of a dashboard that has many. It works without this file.
"use strict";

// Hides the claims that do not contain the text in the filter.
function filterClaims() {
  const filter = document.getElementById("claims-filter");
  const wanted = filter?.value.trim().toLowerCase() ?? "";
  const rows = [...document.querySelectorAll(".claims > div")];
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  if (wanted) document.getElementById("protocol-claims")?.setAttribute("open", "");
  return filter?.dataset.found.replace("{shown}", rows.filter((row) => !row.hidden).length).replace("{total}", rows.length);
}

document.addEventListener("input", ({ target }) => {
  if (target.id === "claims-filter") announce(filterClaims());
});

// The card may have been replaced.
document.addEventListener("htmx:after:swap", filterClaims);
